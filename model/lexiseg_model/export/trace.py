"""Trace networks to ONNX files by torch's exporter."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lexiseg_model.errors import ExportError

OPSET = 20
TRACED_SIZE = 9, 12  # (rows, columns) of `Part.example`


def trace(
    network: nn.Module,
    inputs: Sequence[Tensor],
    names: Sequence[str],
    sizes: tuple[Any, ...],
    outputs: Sequence[str] | None,
    target: Path,
) -> None:
    """Write the graph of a network by torch's exporter.

    Args:
        network, inputs: what to trace.
        names: of the inputs.
        sizes: their dynamic dimensions, as `dynamic_shapes` of `torch.export`.
        outputs: names of the outputs; None: the exporter's.
        target: the file.

    Raises:
        ExportError: a required package is not installed, or the network cannot be exported.
    """
    try:
        import onnx  # noqa: F401
        from onnxscript.ir.passes.common import ClearMetadataAndDocStringPass
    except ImportError as error:
        raise ExportError(f"ONNX export needs {error.name}: `pip install onnx onnxscript`") from None
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter warns about its own internals
        try:
            program = torch.onnx.export(
                network,
                tuple(inputs),
                input_names=list(names),
                output_names=outputs,
                opset_version=OPSET,
                dynamo=True,
                dynamic_shapes=sizes,
                verbose=False,
            )
        except Exception as error:  # tracing raises errors of many types
            raise ExportError(f"{type(network).__name__} cannot be exported as ONNX: {error}") from error
    assert program is not None  # always set with `dynamo`
    ClearMetadataAndDocStringPass()(program.model)  # stack traces of the exporter, up to a third of a small graph
    program.save(target, external_data=False)
