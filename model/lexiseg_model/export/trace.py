"""Trace networks to ONNX files by torch's exporter, or make graphs of templates.

A template is a graph without weights, which are inputs instead, so that one trace serves other weights: `bind` makes a
graph of both in a hundredth of the time. `model/templates.py` writes templates.
"""

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
PREFIX = "weight."  # of the inputs that are weights


def trace(
    network: nn.Module,
    inputs: Sequence[Tensor],
    names: Sequence[str],
    sizes: tuple[Any, ...],
    outputs: Sequence[str] | None,
    target: Path,
) -> None:
    """Write the graph of a network by torch's exporter, which names outputs where `outputs` are None.

    `sizes` are the dynamic dimensions of the inputs, as `dynamic_shapes` of `torch.export`. Raises ExportError: a
    required package is not installed, or the network cannot be exported.
    """
    try:
        import onnx  # noqa: F401
        from onnxscript.ir.passes.common import ClearMetadataAndDocStringPass
    except ImportError as error:
        raise ExportError(f"ONNX export needs {error.name}: `pip install onnx onnxscript`") from None
    in_place = [vars(module) for module in network.modules() if vars(module).get("inplace")]
    with warnings.catch_warnings(action="ignore"), torch.no_grad():  # the exporter warns about its own internals
        try:
            for activation in in_place:  # to decompose what writes into its input takes as long as all the rest
                activation["inplace"] = False
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
        finally:
            for activation in in_place:
                activation["inplace"] = True
    assert program is not None  # always set with `dynamo`
    ClearMetadataAndDocStringPass()(program.model)  # stack traces of the exporter, up to a third of a small graph
    program.save(target, external_data=False)


def bind(module: nn.Module, template: Path, file: Path) -> None:
    """Write a template with the weights of a module. Raises ExportError: a required package is not installed."""
    try:
        import onnx
        from onnx import numpy_helper
    except ImportError as error:
        raise ExportError(f"ONNX export needs {error.name}: `pip install onnx`") from None
    model = onnx.load(template)
    weights = module.state_dict()
    for value in [value for value in model.graph.input if value.name.startswith(PREFIX)]:
        model.graph.input.remove(value)
        array = weights[value.name.removeprefix(PREFIX)].numpy()
        model.graph.initializer.append(numpy_helper.from_array(array, value.name))
    onnx.save(model, file)
