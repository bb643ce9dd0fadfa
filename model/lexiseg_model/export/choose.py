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
from lexiseg_model.types import Runtime

logger = logging.getLogger("lexiseg.export")

# `auto` writes an export of its own accord where that takes seconds: bytes of the image pass's weights.
SMALL = 128 * 2**20
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
        runtime: `auto` takes the faster of torch and float32 ONNX, as measured (docs/runtimes.md), and torch where an
            export cannot be had; `onnx` and `onnx-int8` insist.
        execution: what the segmenter was loaded for.
        place: folder of the model's export. A float32 one that is missing, or of other weights, is written there.
        load_exact: loads the same model as exact on the CPU, to write it down.

    Raises:
        ExportError: `onnx` or `onnx-int8` was asked for and cannot be had.
    """
    if runtime == "torch" or (runtime == "auto" and not faster_in_onnx(execution)):
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


def faster_in_onnx(execution: Execution) -> bool:
    """The rule of `auto`: on a CPU, where torch would compute in float32.

    With native bfloat16 torch is ahead. A model loaded as exact is held against published figures, and stays with the
    runtime that these were checked with.
    """
    return execution.device.type == "cpu" and execution.precision == "fast" and execution.dtype == torch.float32


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
