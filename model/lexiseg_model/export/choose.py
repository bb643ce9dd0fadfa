"""Select what runs a model's image pass: torch, its compiler, or ONNX Runtime, TensorRT or OpenVINO with an export."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch

from lexiseg_model.errors import ExportError
from lexiseg_model.export import onnx_runtime
from lexiseg_model.export.exportable import Exportable, TorchPass, require_compiler
from lexiseg_model.export.manifest import MANIFEST, Manifest, Numbers, read
from lexiseg_model.export.runner import Engine, OnnxRunner, PartSession
from lexiseg_model.export.write import add_int8
from lexiseg_model.export.write import export as write_export
from lexiseg_model.resources.device import Execution
from lexiseg_model.runtimes import Runtime
from lexiseg_model.segmenter import Segmenter

logger = logging.getLogger("lexiseg.export")
ENGINES: Mapping[Runtime, Engine] = {"openvino": "OpenVINO", "tensorrt": "TensorRT"}


def use_runtime(
    segmenter: Segmenter,
    runtime: Runtime,
    execution: Execution,
    folders: Sequence[Path],
    load_exact: Callable[[], Segmenter],
    ranges: Path | None = None,
) -> None:
    """Set the runner of a segmenter's image pass; `torch` changes nothing.

    `auto` uses an existing export on a CPU where it is faster (docs/performance.md), else torch; `onnx`, `onnx-int8`,
    `openvino` and `tensorrt` require an export, `torch-compile` a `TorchPass`. One of `folders` may hold the export; a
    required one that is missing, or belongs to other weights, is written to the last folder, of the model that
    `load_exact` gives; int8 only with `ranges` of activations.
    """
    if runtime == "torch":
        return
    if runtime == "torch-compile":
        if not isinstance(segmenter, TorchPass):
            raise ExportError(f"{segmenter.card.name} has no image pass for torch.compile; use runtime torch")
        require_compiler(execution.device)
        segmenter.compile_image_pass()
        logger.info("image pass of %s by torch.compile: %s", segmenter.card.name, execution.dtype)
        return
    if runtime == "auto":
        _use_existing(segmenter, execution, folders)
        return
    engine = ENGINES.get(runtime, "ONNX Runtime")
    if engine == "OpenVINO":
        onnx_runtime.require_openvino()  # before an export is written
    if engine == "TensorRT":
        onnx_runtime.tensorrt(execution.device, exact=execution.precision == "exact")
    model = _exportable(segmenter)
    if engine == "OpenVINO" and execution.precision == "fast":
        export = _first_export(model, folders, "int8")
        if export is not None and not (export[1].int8 or "").startswith("dynamic"):  # slower than float32
            _set_runner(model, *export, "int8", execution, engine)
            return
    numbers: Numbers = "int8" if runtime == "onnx-int8" else "float32"
    export = _first_export(model, folders, numbers) or _write_missing(model, folders[-1], load_exact, ranges, numbers)
    _set_runner(model, *export, numbers, execution, engine)


def _use_existing(segmenter: Segmenter, execution: Execution, folders: Sequence[Path]) -> None:
    """`auto`: prefer int8; use float32 only where torch has no faster number type.

    Exact models stay with torch, in which they were compared with published figures.
    """
    if not isinstance(segmenter, Exportable) or execution.device.type != "cpu" or execution.precision == "exact":
        return
    choices: list[Numbers] = ["int8", "float32"] if execution.dtype == torch.float32 else ["int8"]
    for numbers in choices:
        try:
            export = _first_export(segmenter, folders, numbers)
            if export is not None:
                _set_runner(segmenter, *export, numbers, execution)
                return
        except ExportError as error:
            logger.warning("%s stays with torch: %s", segmenter.card.name, error)


def _set_runner(
    model: Exportable,
    folder: Path,
    manifest: Manifest,
    numbers: Numbers,
    execution: Execution,
    engine: Engine = "ONNX Runtime",
) -> None:
    """Let a model run by an export: its image pass, and on a CPU its parts."""
    device = execution.device
    runner = OnnxRunner(folder, manifest, numbers, device, exact=execution.precision == "exact", engine=engine)
    if device.type == "cpu" and manifest.parts:
        parts = {graph.part or "": PartSession(folder, graph) for graph in manifest.parts}
        model.part_sessions = tuple(parts.values())
        model.use_part_runners(parts, onnx_runtime.threads())
    model.use_image_runner(runner)
    logger.info("image pass of %s by %s: %s, %s", model.card.name, engine, numbers, runner.providers[0])


def _write_missing(
    model: Exportable, folder: Path, load_exact: Callable[[], Segmenter], ranges: Path | None, numbers: Numbers
) -> tuple[Path, Manifest]:
    if numbers == "int8" and (ranges is None or not ranges.is_file()):
        name = model.card.name
        raise ExportError(f"no int8 export of {name} in {folder}; `lexiseg export --model {name} --int8` makes one")
    logger.info("exporting the image pass of %s as ONNX to %s", model.card.name, folder)
    manifest = find(folder, model.digest)
    if manifest is None or not manifest.image_pass("float32"):
        manifest = write_export(_exportable(load_exact()), folder)
    return folder, manifest if numbers == "float32" else add_int8(folder, manifest, (), ranges)


def _first_export(model: Exportable, folders: Sequence[Path], numbers: Numbers) -> tuple[Path, Manifest] | None:
    """The first folder that holds graphs of this model with these numbers, and its manifest."""
    for folder in folders:
        manifest = find(folder, model.digest)
        if manifest is not None and manifest.image_pass(numbers):
            return folder, manifest
    return None


def find(folder: Path, digest: str) -> Manifest | None:
    """The manifest of the export in a folder; None where there is none of these weights."""
    if not (folder / MANIFEST).is_file():
        return None
    manifest = read(folder)
    return manifest if manifest.digest == digest else None


def _exportable(segmenter: Segmenter) -> Exportable:
    if not isinstance(segmenter, Exportable):
        raise ExportError(f"{segmenter.card.name} cannot be exported as ONNX; its runtime is torch")
    return segmenter
