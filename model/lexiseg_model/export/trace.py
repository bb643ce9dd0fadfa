"""Trace networks to ONNX files by torch's exporter, and keep traces as templates.

A template is a graph without weights, which are inputs instead, so that one trace serves other weights:
`write_template` traces a part; `bind` makes a graph of the template and weights, in a hundredth of the time.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from lexiseg_model.errors import ExportError
from lexiseg_model.export.exportable import Part

if TYPE_CHECKING:
    from onnx import ModelProto

OPSET = 20
TRACED_SIZE = 9, 12  # (rows, columns) of `Part.example`
PREFIX = "weight."  # of the inputs that are weights
ROUNDING = 1e-5  # relative; processors round folded constants differently


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
        names: of the inputs.
        sizes: their dynamic dimensions, as `dynamic_shapes` of `torch.export`.
        outputs: names of the outputs; None: the exporter's.

    Raises:
        ExportError: a required package is not installed, or the network cannot be exported.
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


class WeightsAsInputs(nn.Module):
    """A module as a function of the tensors of its state, and then of its inputs."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self._names = tuple(module.state_dict())
        self._call = partial(functional_call, module)  # a sub-module's weights would be constants of the trace

    def forward(self, *tensors: Tensor) -> Any:
        n = len(self._names)
        return self._call(dict(zip(self._names, tensors[:n], strict=True)), tensors[n:])


def write_template(part: Part, folder: Path) -> None:
    """Trace a part to `NAME.onnx` in a folder, with the tensors of its state as inputs.

    Raises:
        ExportError: it cannot be exported.
    """
    import onnx

    weights = part.module.eval().state_dict()
    inputs = [*weights.values(), *part.example(*TRACED_SIZE)]
    sizes = [*(part.weights.get(name, {}) for name in weights), *part.sizes.values()]
    names = [*(PREFIX + name for name in weights), *part.sizes]
    file = folder / f"{part.name}.onnx"
    trace(WeightsAsInputs(part.module), inputs, names, (tuple(map(dict, sizes)),), part.outputs, file)
    model = onnx.load(file)
    used = {name for node in model.graph.node for name in node.input}
    for value in [value for value in model.graph.input if value.name not in used]:
        model.graph.input.remove(value)
    for value in (*model.graph.input, *model.graph.output):
        value.ClearField("metadata_props")
    model.graph.ClearField("value_info")  # inferred again by what loads it; half of the file
    model.ClearField("producer_version")
    onnx.save(model, file)


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


def differ(one: Path, other: Path) -> bool:
    """Whether one of two graphs is missing, or they differ in more than the last digits of constants."""
    import onnx

    if not (one.exists() and other.exists()):
        return True
    (nodes, constants), (other_nodes, other_constants) = (_without_constants(onnx.load(path)) for path in (one, other))
    return nodes != other_nodes or not all(
        np.allclose(array, other_constants[name], rtol=ROUNDING, atol=0) for name, array in constants.items()
    )


def _without_constants(model: ModelProto) -> tuple[bytes, dict[str, Any]]:
    """A graph without the values of its constants, and these by name."""
    from onnx import numpy_helper

    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for tensor in model.graph.initializer:
        tensor.ClearField("raw_data")
    return model.SerializeToString(deterministic=True), constants
