"""Which runtime does a model's image pass: torch, or ONNX Runtime over an export."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from lexiseg_model.device import Execution
from lexiseg_model.errors import ExportError
from lexiseg_model.export import manifest, onnx_runtime
from lexiseg_model.export.exportable import Exportable
from lexiseg_model.export.manifest import MANIFEST, Manifest, Numbers
from lexiseg_model.export.runner import OnnxRunner, PartSession
from lexiseg_model.export.write import add_int8, export
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.types import Runtime

logger = logging.getLogger("lexiseg.export")


def use_runtime(
    segmenter: Segmenter,
    runtime: Runtime,
    execution: Execution,
    places: Sequence[Path],
    load_exact: Callable[[], Segmenter],
    ranges: Path | None = None,
) -> None:
    """Gives a segmenter the runner that `runtime` asks for; with torch it stays as it is.

    Args:
        segmenter: as loaded.
        runtime: `auto` uses an export that exists, on a CPU where it is faster than torch (docs/runtimes.md), and torch
            otherwise; `onnx` and `onnx-int8` insist.
        execution: what the segmenter was loaded for.
        places: folders that may hold the model's export. One that is missing, or of other weights, is written to the
            last of them if `runtime` insists; an int8 one only where ranges are known.
        load_exact: loads the same model as exact on the CPU, to write it down.
        ranges: file of the ranges of its activations, if it comes with one.

    Raises:
        ExportError: `onnx` or `onnx-int8` was asked for and cannot be had.
    """
    if runtime == "torch":
        return
    if runtime == "auto":
        _use_existing(segmenter, execution, places)
        return
    numbers: Numbers = "int8" if runtime == "onnx-int8" else "float32"
    found = _find(segmenter, places, numbers)
    place, exported = found or (places[-1], _written(segmenter, places[-1], load_exact, ranges, numbers))
    _use(segmenter, place, exported, numbers, execution)


def _use_existing(segmenter: Segmenter, execution: Execution, places: Sequence[Path]) -> None:
    """The rule of `auto`: 8 bits before float32, and float32 only where torch has no faster number type.

    A model loaded as exact is compared with published figures, and stays with torch, which they were checked with.
    """
    if not isinstance(segmenter, Exportable) or execution.device.type != "cpu" or execution.precision == "exact":
        return
    choices: list[Numbers] = ["int8", "float32"] if execution.dtype == torch.float32 else ["int8"]
    for numbers in choices:
        try:
            found = _find(segmenter, places, numbers)
            if found is not None:
                _use(segmenter, *found, numbers, execution)
                return
        except ExportError as error:
            logger.warning("%s stays with torch: %s", segmenter.card.name, error)


def _use(segmenter: Segmenter, place: Path, exported: Manifest, numbers: Numbers, execution: Execution) -> None:
    model, device = _exportable(segmenter), execution.device
    runner = OnnxRunner(place, exported, numbers, device, exact=execution.precision == "exact")
    if device.type == "cpu" and exported.parts:
        parts = {graph.part or "": PartSession(place, graph) for graph in exported.parts}
        model.use_part_runners(parts, onnx_runtime.threads())
    model.use_image_runner(runner)
    logger.info("image pass of %s by ONNX Runtime: %s, %s", model.card.name, numbers, runner.providers[0])


def _written(
    segmenter: Segmenter, place: Path, load_exact: Callable[[], Segmenter], ranges: Path | None, numbers: Numbers
) -> Manifest:
    """Raises ExportError: it cannot be written."""
    model = _exportable(segmenter)
    if numbers == "int8" and (ranges is None or not ranges.is_file()):
        name = model.card.name
        raise ExportError(f"no int8 export of {name} in {place}; `lexiseg export --model {name} --int8` makes one")
    logger.info("writing the image pass of %s as ONNX to %s", model.card.name, place)
    exported = find(place, model.digest)
    if exported is None or not exported.of("float32"):
        exported = export(_exportable(load_exact()), place)
    return exported if numbers == "float32" else add_int8(place, exported, (), ranges)


def _find(segmenter: Segmenter, places: Sequence[Path], numbers: Numbers) -> tuple[Path, Manifest] | None:
    """The first of some folders that holds graphs of this model and these numbers."""
    for place in places:
        exported = find(place, _exportable(segmenter).digest)
        if exported is not None and exported.of(numbers):
            return place, exported
    return None


def find(place: Path, digest: str) -> Manifest | None:
    """The export in a folder, if it is of these weights.

    Raises:
        ExportError: its manifest is damaged.
    """
    if not (place / MANIFEST).is_file():
        return None
    exported = manifest.read(place)
    return exported if exported.digest == digest else None


def _exportable(segmenter: Segmenter) -> Exportable:
    if not isinstance(segmenter, Exportable):
        raise ExportError(f"{segmenter.card.name} cannot be written as ONNX; its runtime is torch")
    return segmenter
