"""Running an export: what is refused when the model loads, and how errors look to the worker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from lexiseg_model.errors import ExportError, ShapeError
from lexiseg_model.export import manifest, runner
from lexiseg_model.export.manifest import MANIFEST, Manifest
from lexiseg_model.export.runner import OnnxRunner
from tests.model.export.small import BUCKET, noise

CPU = torch.device("cpu")


@pytest.fixture
def written(small_export: Path) -> Manifest:
    """The small export, its graph for tiles of one shape alone."""
    whole = manifest.read(small_export)
    return whole.model_copy(update={"graphs": [whole.graphs[0].model_copy(update={"size": BUCKET})]})


def test_a_damaged_file_is_found_when_the_model_loads(small_export: Path, written: Manifest) -> None:
    path = small_export / written.graphs[0].file
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)

    with pytest.raises(ExportError, match="Export the model again"):
        OnnxRunner(small_export, written, "float32", CPU)


def test_numbers_that_were_not_exported_are_asked_for_by_command(small_export: Path, written: Manifest) -> None:
    with pytest.raises(ExportError, match="lexiseg export --model colours --int8"):
        OnnxRunner(small_export, written, "int8", CPU)


def test_tiles_of_an_unknown_shape_are_refused(small_export: Path, written: Manifest) -> None:
    run = OnnxRunner(small_export, written, "float32", CPU)

    assert run.takes(BUCKET)
    assert not run.takes((32, 32))
    with pytest.raises(ShapeError, match=r"\(16, 24\)"):
        run(noise(1, (32, 32)))


def test_a_manifest_that_is_damaged_is_an_error_of_ours(small_export: Path, written: Manifest) -> None:
    (small_export / MANIFEST).write_text("{}")

    with pytest.raises(ExportError, match="not a valid manifest"):
        manifest.read(small_export)


class Full:
    """A session whose device has no memory left, in ONNX Runtime's words."""

    def run(self, outputs: None, inputs: dict[str, NDArray[np.uint8]]) -> list[Any]:
        raise RuntimeError("Non-zero status code: BFCArena Failed to allocate memory for requested buffer of size 1")


def test_no_memory_is_the_error_for_which_the_worker_splits_a_batch() -> None:
    with pytest.raises(MemoryError):
        runner.run_session(Full(), noise(1, BUCKET), CPU)
