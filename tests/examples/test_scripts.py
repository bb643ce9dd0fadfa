"""The scripts of examples/ against a real server; napari and FiftyOne, which are not installed, are stand-ins."""

import runpy
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest

from tests import pictures
from tests.integration.server import ROOT, Server


def run(
    script: str, tool: str, stand_in: Any, monkeypatch: pytest.MonkeyPatch, server: Server, *arguments: str
) -> None:
    monkeypatch.setitem(sys.modules, tool, stand_in)
    monkeypatch.setenv("LEXISEG_BASE_URL", server.url)
    monkeypatch.setattr(sys, "argv", [script, *arguments])
    runpy.run_path(str(ROOT / "examples" / script), run_name="__main__")


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "china.jpg"
    path.write_bytes(pictures.encoded(pictures.small("china", 200), "JPEG"))
    return path


def test_napari_gets_the_picture_and_its_labels(server: Server, photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    napari = MagicMock()

    run("napari_layers.py", "napari", napari, monkeypatch, server, str(photo), "sky", "building")

    viewer = napari.Viewer.return_value
    (pixels,), (labels,) = viewer.add_image.call_args.args, viewer.add_labels.call_args.args
    features = viewer.add_labels.call_args.kwargs["features"]
    assert labels.shape == pixels.shape[:2]
    assert len(features["label"]) == len(features["score"]) == labels.max() + 1
    assert features["label"][np.bincount(labels.ravel())[1:].argmax() + 1] == "sky"


def test_fiftyone_gets_detections_and_the_reason_where_there_are_none(
    server: Server, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Sample(dict[str, Any]):
        def __init__(self, filepath: str) -> None:
            super().__init__()
            self.filepath = filepath

        def save(self) -> None:
            self["saved"] = True

    (photo.parent / "damaged.jpg").write_bytes(b"no picture")
    samples = [Sample(str(path)) for path in sorted(photo.parent.iterdir())]
    fiftyone = ModuleType("fiftyone")
    fiftyone.__dict__.update(
        Dataset=SimpleNamespace(from_images_dir=lambda folder: samples),
        Detection=lambda **fields: fields,
        Detections=lambda detections: detections,
        launch_app=MagicMock(),
    )

    run("fiftyone_dataset.py", "fiftyone", fiftyone, monkeypatch, server, str(photo.parent), "building")

    good, damaged = samples
    assert good["saved"]
    assert damaged["saved"]
    assert {detection["label"] for detection in good["lexiseg"]} <= {"building"}
    assert "415" in damaged["lexiseg_error"]
