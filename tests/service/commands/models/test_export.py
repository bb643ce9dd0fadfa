import json
from pathlib import Path

import numpy as np
import pytest
import torch

import lexiseg_model.clip  # noqa: F401  declares what open_clip and timm need
from tests import exported, pictures
from tests.model.imports import imported
from tests.model.methods.unpair_seg import small
from tests.service.commands.command_line import CommandLine
from tests.train.data.own.made import save


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data set of one photograph that is all sky by decree."""
    picture = np.asarray(pictures.small("china", 160))
    save(tmp_path / "skies" / "val", "china", picture, np.zeros(picture.shape[:2], np.uint8))
    (tmp_path / "skies" / "classes.json").write_text('["sky", "building"]')
    return tmp_path


def test_an_export_is_served_by_its_runtime_from_the_cache(
    lexiseg: CommandLine, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export = exported.tiny()
    monkeypatch.setenv("XDG_CACHE_HOME", str(export.cache))

    assert {path.name for path in export.folder.iterdir()} >= {
        "image.onnx", "image.int8.onnx", "int8-ranges.json", "onnx.json",
    }  # fmt: skip
    for words in ("opset 20", "100.00 %", "ranges of 4 photographs"):
        assert words in " ".join(export.output.split())

    accuracy = {}
    for runtime in ("torch", "onnx", "onnx-int8"):
        report = tmp_path / f"{runtime}.json"
        asked = lexiseg("eval", "--dataset", "skies", "--root", root, "--runtime", runtime, "--json", report)
        assert asked.status == 0, asked.err
        accuracy[runtime] = json.loads(report.read_text())["pixel_accuracy"]
    assert accuracy["onnx"] == pytest.approx(accuracy["torch"], abs=0.5)
    assert accuracy["onnx-int8"] == pytest.approx(accuracy["torch"], abs=5)
    assert accuracy["onnx-int8"] != accuracy["torch"]


def test_a_model_that_is_no_graph_is_refused(
    lexiseg: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small.register()
    torch.save({"model": dict(small.state())}, tmp_path / "stage1.pth")
    imported("unpair-seg", "mine", tmp_path, checkpoint=tmp_path / "stage1.pth", architecture=small.ARCHITECTURE)
    monkeypatch.setenv("LEXISEG_MODEL", "mine")
    monkeypatch.setenv("LEXISEG_MODELS_DIR", str(tmp_path))

    outcome = lexiseg("export", "--out", tmp_path / "exported")

    assert outcome.status == 1
    assert outcome.err == "lexiseg: mine cannot be written as ONNX\n"
