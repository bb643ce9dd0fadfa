import json
from pathlib import Path

import numpy as np
import pytest

from tests import exported, pictures
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
