"""Which runtime does a model's image pass: torch, or ONNX Runtime over an export that is found or made."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import torch

from lexiseg_model.device import Execution
from lexiseg_model.errors import ExportError
from lexiseg_model.export import manifest, onnx_runtime
from lexiseg_model.export.exportable import Exportable
from lexiseg_model.export.int8 import FULL_RANGE, multiplies_int8
from lexiseg_model.export.manifest import MANIFEST, Manifest, Numbers
from lexiseg_model.export.runner import OnnxRunner
from lexiseg_model.export.write import export, weight_bytes
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
) -> None:
    """Gives a segmenter the runner that `runtime` asks for; with torch it stays as it is.

    Args:
        segmenter: as loaded.
        runtime: `auto` takes the faster of torch and float32 ONNX, as measured (docs/runtimes.md), int8 where that
            costs nothing (`int8_costs_nothing`), and torch where an export cannot be had; the others insist.
        execution: what the segmenter was loaded for.
        place: folder of the model's export. A float32 one that is missing, or of other weights, is written there.
        load_exact: loads the same model as exact on the CPU, to write it down.

    Raises:
        ExportError: `onnx` or `onnx-int8` was asked for and cannot be had.
    """
    if runtime == "auto" and int8_costs_nothing(segmenter.card, execution) and _has_int8(segmenter, place):
        most = max(measured.int8_loss or 0.0 for measured in segmenter.card.quality.values())
        logger.info("%s is served in 8 bits: its card tells of a loss of %.2f mIoU at most", segmenter.card.name, most)
        runtime = "onnx-int8"
    if runtime == "torch" or (runtime == "auto" and not faster_in_onnx(segmenter, execution)):
        return
    numbers: Numbers = "int8" if runtime == "onnx-int8" else "float32"
    try:
        onnx_runtime.require()
        exportable = _exportable(segmenter)
        exported = find(place, exportable.digest)
        if exported is None or not exported.of(numbers):
            if runtime == "auto" and weight_bytes(exportable.image_network()) > SMALL:
                return
            if numbers == "int8":
                name = segmenter.card.name
                raise ExportError(
                    f"no int8 export of {name} in {place}; `lexiseg export --model {name} --int8` makes one"
                )
            logger.info("writing the image pass of %s as ONNX to %s", segmenter.card.name, place)
            exported = export(_exportable(load_exact()), place)
        runner = OnnxRunner(place, exported, numbers, execution.device, exact=execution.precision == "exact")
    except ExportError as error:
        if runtime != "auto":
            raise
        logger.warning("%s stays with torch: %s", segmenter.card.name, error)
        return
    exportable.use_image_runner(runner)
    if numbers == "int8" and FULL_RANGE in (exported.int8 or "") and not multiplies_int8():
        logger.warning("this processor has no VNNI: %s", INEXACT)
    logger.info("image pass of %s by ONNX Runtime: %s, %s", segmenter.card.name, numbers, runner.providers[0])


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


def _has_int8(segmenter: Segmenter, place: Path) -> bool:
    """Whether somebody has made an int8 export of these weights; what is wrong with one, `auto` says later."""
    try:
        exported = find(place, segmenter.digest)
    except ExportError:
        return False
    return exported is not None and bool(exported.of("int8"))


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
