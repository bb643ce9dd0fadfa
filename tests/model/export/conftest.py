"""Graphs of the bundled model: those that `lexiseg export` writes in float32, and the bundled ones in 8 bits."""

import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from lexiseg_model.catalogue.models import bundled, load
from lexiseg_model.export.exportable import Exportable
from lexiseg_model.export.manifest import FOLDER, Manifest, Numbers, read
from lexiseg_model.export.runner import Engine, OnnxRunner
from lexiseg_model.export.write import add_int8, export
from lexiseg_model.tasks.label_maps import labeller, mean_share
from lexiseg_model.types import Background, ClassEntry, LabelMap, Vocabulary
from tests import exported
from tests.model.conftest import Photographs
from tests.model.export.small import BUCKET, edges, noise

WORDS = (
    "sky", "building", "tree", "water", "flower", "leaf", "cat", "carpet", "cup", "table", "spoon", "person", "flag",
    "rocket", "tower", "grass", "wall", "road", "mountain", "dog",
)  # fmt: skip
VOCABULARY = Vocabulary(tuple(map(ClassEntry, WORDS)), Background())
# Measured 100.00 % and 96.6 %; the float32 figure is promised in docs/performance.md.
MIN_AGREEMENT: dict[Numbers, float] = {"float32": 0.995, "int8": 0.92}


class Export(NamedTuple):
    folder: Path
    manifest: Manifest


def graphs_of_tiny(numbers: Numbers) -> Export:
    """Shared: never write into the folder."""
    folder = exported.tiny().folder if numbers == "float32" else bundled()["tiny"] / FOLDER
    return Export(folder, read(folder))


def exact_tiny() -> Exportable:
    segmenter = load("tiny", device="cpu", precision="exact")
    assert isinstance(segmenter, Exportable)
    return segmenter


@pytest.fixture(scope="session")
def small_original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The export of `Edges` under the digest `small`."""
    folder = tmp_path_factory.mktemp("small") / "onnx"
    export(edges(), folder)
    return folder


@pytest.fixture(scope="session")
def small_quantised(small_original: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with 8-bit graphs, by ranges of four photographs."""
    folder = shutil.copytree(small_original, tmp_path_factory.mktemp("small-int8") / "onnx")
    add_int8(folder, read(folder), [noise(1, BUCKET, seed) for seed in range(4)])
    return folder


@pytest.fixture
def small_int8(small_quantised: Path, tmp_path: Path) -> Path:
    """A copy of that for one test."""
    return shutil.copytree(small_quantised, tmp_path / "onnx")


@pytest.fixture
def small_export(small_original: Path, tmp_path: Path) -> Path:
    """A copy of it for one test."""
    return shutil.copytree(small_original, tmp_path / "onnx")


@pytest.fixture(scope="session")
def torch_tiny() -> Exportable:
    """`tiny` in float32 by torch."""
    return exact_tiny()


@pytest.fixture(scope="session")
def agreement(torch_tiny: Exportable, photographs: Photographs) -> Callable[[Exportable], float]:
    """The share of the photographs' pixels that `tiny` by another runtime gives the same word as by torch."""

    def labels(segmenter: Exportable) -> list[LabelMap]:
        label = labeller(segmenter, VOCABULARY)
        return [label(picture) for picture in photographs.values()]

    by_torch = labels(torch_tiny)
    return lambda segmenter: mean_share(by_torch, labels(segmenter))


def tiny_by(engine: Engine, numbers: Numbers) -> Exportable:
    """`tiny` by graphs of these numbers in an engine. Skips: OpenVINO is an extra."""
    if engine == "OpenVINO" and find_spec("openvino") is None:  # an import by a test would bring its telemetry
        pytest.skip("the extra openvino is not installed")
    segmenter = exact_tiny()
    segmenter.use_image_runner(OnnxRunner(*graphs_of_tiny(numbers), numbers, torch.device("cpu"), engine=engine))
    return segmenter
