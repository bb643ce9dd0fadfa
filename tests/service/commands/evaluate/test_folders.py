import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from lexiseg_model.catalogue import bundled
from tests import pictures
from tests.model.data.own.made import save
from tests.service.commands.command_line import CommandLine


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
        "eval", "--compare", "tiny", copy, "--dataset", "halves", "--root", root, "--runtime", "torch", "--json", target
    )

    assert outcome.status == 0, outcome.err
    report = json.loads(target.read_text())
    assert (report["a"]["model"], report["b"]["model"]) == ("tiny", str(copy))
    assert report["a"]["model_digest"] == report["b"]["model_digest"]
    (halves,) = report["datasets"]
    assert {row["difference"] for row in halves["measures"].values()} <= {0, None}
    assert 0 < halves["measures"]["mIoU"]["a"] < halves["measures"]["oracle names"]["a"]
    for words in ("halves/val, 2 photographs", "B - A", "95 % interval", "kept with 3 more"):
        assert words in outcome.out
