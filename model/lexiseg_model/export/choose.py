"""Which runtime does a model's image pass: torch, or ONNX Runtime over an export that is found or made."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from lexiseg_model.device import Execution
from lexiseg_model.errors import ExportError
from lexiseg_model.export import manifest
from lexiseg_model.export.exportable import Exportable
from lexiseg_model.export.int8 import FULL_RANGE, multiplies_int8
from lexiseg_model.export.manifest import MANIFEST, Manifest, Numbers
from lexiseg_model.export.runner import OnnxRunner
from lexiseg_model.export.write import add_int8, export, weight_bytes
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.types import ModelCard, Runtime

logger = logging.getLogger("lexiseg.export")

# `auto` writes an export of its own accord where that takes seconds: bytes of the image pass's weights.
SMALL = 128 * 2**20
MOST_LOSS = 0.2  # mIoU, in percent: what `auto` may give for 8-bit numbers, on any data set
INEXACT = "its 8-bit products overflow and labels may be wrong; export the model here, or serve it as float32"


def use_runtime(
    segmenter: Segmenter,
    runtime: Runtime,
    execution: Execution,
    place: Path,
    load_exact: Callable[[], Segmenter],
    ranges: Path | None = None,
) -> None:
    """Gives a segmenter the runner that `runtime` asks for; with torch it stays as it is.

    Args:
        segmenter: as loaded.
        runtime: `auto` takes an int8 export that is there where that costs nothing (`int8_costs_nothing`), else the
            fastest without, as measured (docs/runtimes.md), and torch where an export cannot be had; the others insist.
        execution: what the segmenter was loaded for.
        place: folder of the model's export. A float32 one that is missing, or of other weights, is written there, and
            an int8 one that was asked for, where the ranges are known.
        load_exact: loads the same model as exact on the CPU, to write it down.
        ranges: file of the ranges that its activations have, if it comes with one.

    Raises:
        ExportError: `onnx` or `onnx-int8` was asked for and cannot be had.
    """
    export_of = partial(_export, segmenter, place, load_exact, ranges)
    choices = _numbers(segmenter, runtime, execution)
    for numbers, otherwise in zip(choices, [*choices[1:], "torch"], strict=False):
        try:
            exported = export_of(numbers, unasked=runtime == "auto")
            if exported is None:
                continue
            runner = OnnxRunner(place, exported, numbers, execution.device, exact=execution.precision == "exact")
        except ExportError as error:
            if runtime != "auto":
                raise
            logger.warning("%s stays with %s: %s", segmenter.card.name, otherwise, error)
            continue
        _exportable(segmenter).use_image_runner(runner)
        if numbers == "int8" and FULL_RANGE in (exported.int8 or "") and not multiplies_int8():
            logger.warning("this processor has no VNNI: %s", INEXACT)
        if numbers == "int8" and runtime == "auto":
            most = max(measured.int8_loss or 0.0 for measured in segmenter.card.quality.values())
            logger.info(
                "%s is served in 8 bits: its card tells of a loss of %.2f mIoU at most", segmenter.card.name, most
            )
        logger.info("image pass of %s by ONNX Runtime: %s, %s", segmenter.card.name, numbers, runner.providers[0])
        return


def _numbers(segmenter: Segmenter, runtime: Runtime, execution: Execution) -> list[Numbers]:
    """What ONNX Runtime may compute in, the first choice first; none of them: torch."""
    if runtime != "auto":
        return [] if runtime == "torch" else ["int8" if runtime == "onnx-int8" else "float32"]
    choices: list[Numbers] = []
    if int8_costs_nothing(segmenter.card, execution):
        choices.append("int8")
    if faster_in_onnx(segmenter, execution):
        choices.append("float32")
    return choices


def _export(
    segmenter: Segmenter,
    place: Path,
    load_exact: Callable[[], Segmenter],
    ranges: Path | None,
    numbers: Numbers,
    *,
    unasked: bool,
) -> Manifest | None:
    """The model's export with graphs of these numbers, written if need be; None where nobody asked for so much.

    Raises:
        ExportError: it cannot be had.
    """
    exportable = _exportable(segmenter)
    exported = find(place, exportable.digest)
    if exported is not None and exported.of(numbers):
        return exported
    kept = ranges if ranges is not None and ranges.is_file() else None
    name = segmenter.card.name
    if unasked and numbers == "int8":
        return None  # other labels than yesterday's are somebody's choice
    if numbers == "int8" and kept is None:
        raise ExportError(f"no int8 export of {name} in {place}; `lexiseg export --model {name} --int8` makes one")
    if unasked and weight_bytes(exportable.image_network()) > SMALL:
        return None
    logger.info("writing the image pass of %s as ONNX to %s", name, place)
    if exported is None or not exported.of("float32"):
        exported = export(_exportable(load_exact()), place)
    return exported if numbers == "float32" else add_int8(place, exported, (), kept)


def faster_in_onnx(segmenter: Segmenter, execution: Execution) -> bool:
    """The rule of `auto`: on a CPU, where torch would compute in float32, and the kernel does not do it instead.

    With native bfloat16 torch is ahead. A model loaded as exact is held against published figures, and stays with the
    runtime that these were checked with.
    """
    if isinstance(segmenter, Exportable) and segmenter.is_compiled:
        return False
    return execution.device.type == "cpu" and execution.precision == "fast" and execution.dtype == torch.float32


def int8_costs_nothing(card: ModelCard, execution: Execution) -> bool:
    """Whether `auto` may compute in 8 bits: on a CPU that does it exactly, and by what the card says was measured.

    On every data set of the card the loss must have been measured, and be `MOST_LOSS` at most.
    """
    if execution.device.type != "cpu" or execution.precision != "fast" or not multiplies_int8():
        return False
    losses = [measured.int8_loss for measured in card.quality.values()]
    return bool(losses) and all(loss is not None and loss <= MOST_LOSS for loss in losses)


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
