"""The export of the bundled model: float32, and int8 with the ranges that the model comes with."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from lexiseg_model.catalogue import bundled, load
from lexiseg_model.export.exportable import Exportable
from lexiseg_model.export.manifest import RANGES, Manifest, Numbers, read
from lexiseg_model.export.runner import OnnxRunner
from lexiseg_model.export.write import add_int8, export
from tests import exported as exported_by_command
from tests.model.export.small import BUCKET, Edges, SmallSegmenter


class Export(NamedTuple):
    folder: Path
    manifest: Manifest


def exact_tiny() -> Exportable:
    segmenter = load("tiny", device="cpu", precision="exact")
    assert isinstance(segmenter, Exportable)
    return segmenter


@pytest.fixture(scope="session")
def small_original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The export of `Edges` under the digest `small`."""
    folder = tmp_path_factory.mktemp("small") / "onnx"
    export(SmallSegmenter(Edges(), (BUCKET,), any_size=True), folder)
    return folder


@pytest.fixture
def small_export(small_original: Path, tmp_path: Path) -> Path:
    """A copy of it for one test."""
    return shutil.copytree(small_original, tmp_path / "onnx")


@pytest.fixture(scope="session")
def torch_tiny() -> Exportable:
    """`tiny` in float32 by torch."""
    return exact_tiny()


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Export:
    command = exported_by_command.tiny().folder
    written = read(command)
    float32 = [graph for graph in written.graphs if graph.numbers == "float32"]
    folder = tmp_path_factory.mktemp("export")
    for graph in float32:
        shutil.copy(command / graph.file, folder)
    written = written.model_copy(update={"graphs": float32, "int8": None})
    return Export(folder, add_int8(folder, written, (), bundled()["tiny"] / RANGES))


@pytest.fixture(scope="session")
def onnx_tiny(exported: Export) -> Callable[[Numbers], Exportable]:
    """`tiny` by ONNX Runtime."""

    def made(numbers: Numbers) -> Exportable:
        segmenter = exact_tiny()
        segmenter.use_image_runner(OnnxRunner(*exported, numbers, torch.device("cpu")))
        return segmenter

    return made
