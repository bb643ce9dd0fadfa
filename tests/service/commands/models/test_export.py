from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests import exported, pictures
from tests.model.data.own.made import save
from tests.service.commands.command_line import CommandLine


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
        "image.onnx",
        "image.int8.onnx",
        "int8-ranges.json",
        "onnx.json",
    }
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


@pytest.mark.parametrize(("made", "message"), [(False, "No such file"), (True, "expected a folder with images")])
def test_a_folder_without_photographs_is_refused_at_once(
    made: bool, message: str, lexiseg: CommandLine, tmp_path: Path
) -> None:
    if made:
        (tmp_path / "photos").mkdir()

    refused = lexiseg("export", "--int8", "--photos", tmp_path / "photos", "--out", tmp_path / "out")

    assert refused.status == 1
    assert message in refused.err
    assert not (tmp_path / "out").exists()


def test_an_unknown_runtime_is_refused_with_its_names(lexiseg: CommandLine, root: Path) -> None:
    refused = lexiseg("eval", "--dataset", "skies", "--root", root, "--runtime", "tensorflow")

    assert refused.status == 1
    assert "--runtime / LEXISEG_RUNTIME" in refused.err
    assert "onnx-int8" in refused.err
