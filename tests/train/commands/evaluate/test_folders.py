import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lexiseg_model.catalogue.models import bundled
from tests import pictures
from tests.service.commands.command_line import CommandLine
from tests.train.data.own.made import save


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data set of two photographs whose upper half is sky by decree."""
    for name in ("china", "rocket"):
        picture = np.asarray(pictures.small(name, 120))
        labels = np.zeros(picture.shape[:2], np.uint8)
        labels[len(labels) // 2 :] = 1
        save(tmp_path / "halves" / "val", name, picture, labels)
    (tmp_path / "halves" / "classes.json").write_text('["sky", "building"]')
    return tmp_path


def test_the_report_has_a_figure_for_every_class(lexiseg: CommandLine, root: Path) -> None:
    target = root / "reports" / "halves.json"

    outcome = lexiseg("eval", "--dataset", "halves", "--root", root, "--json", target)

    assert outcome.status == 0, outcome.err
    report = json.loads(target.read_text())
    assert (report["model"], report["dataset"], report["split"], report["images"]) == ("tiny", "halves", "val", 2)
    assert set(report["per_class"]) == {"sky", "building"}
    assert report["miou"] == pytest.approx(np.mean(list(report["per_class"].values())), abs=0.01)
    assert 0 < report["pixel_accuracy"] <= 100


def test_the_bundled_model_is_as_good_as_its_copy(lexiseg: CommandLine, root: Path, tmp_path: Path) -> None:
    copy, target = tmp_path / "copy", tmp_path / "reports" / "compared.json"
    shutil.copytree(bundled()["tiny"], copy)

    outcome = lexiseg(
        "eval", "compare", "tiny", copy, "--dataset", "halves", "--root", root, "--runtime", "torch", "--json", target
    )

    assert outcome.status == 0, outcome.err
    report = json.loads(target.read_text())
    assert (report["a"]["model"], report["b"]["model"]) == ("tiny", str(copy))
    assert report["a"]["model_digest"] == report["b"]["model_digest"]
    (halves,) = report["datasets"]
    assert halves["warnings"] == []
    assert {row["difference"] for row in halves["measures"].values()} <= {0, None}
    assert 0 < halves["measures"]["mIoU"]["a"] <= halves["measures"]["oracle names"]["a"]
    for words in ("halves/val, 2 photographs", "B - A", "95 % interval", "kept with 3 more"):
        assert words in outcome.out


def test_a_comparison_warns_of_masks_of_0_and_255_alone(lexiseg: CommandLine, root: Path) -> None:
    target = root / "compared.json"
    for path in (root / "halves/val/masks").iterdir():
        mask = np.asarray(Image.open(path))
        Image.fromarray(np.where(mask == 1, 255, 0).astype(np.uint8)).save(path)

    outcome = lexiseg(
        "eval", "compare", "tiny", "tiny", "--dataset", "halves", "--root", root, "--limit", 1, "--json", target
    )

    assert outcome.status == 0, outcome.err
    assert "the masks of halves/val hold only 0 and perhaps 255" in outcome.err
    (halves,) = json.loads(target.read_text())["datasets"]
    assert len(halves["warnings"]) == 1
