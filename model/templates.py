"""Write the templates of the browser's graphs, which are part of the package, or check that they are those of the code.

python model/templates.py write|check
"""

from __future__ import annotations

import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, numpy_helper
from torch import Tensor, nn
from torch.func import functional_call

from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.export.exportable import Part
from lexiseg_model.export.write import PREFIX, TRACED_SIZE, trace
from lexiseg_model.methods.tiny.browser import browser_parts
from lexiseg_model.methods.tiny.browser_graphs import Reading
from lexiseg_model.methods.tiny.graphs import TEMPLATES
from lexiseg_model.methods.tiny.segmenter import TinySegmenter
from lexiseg_model.methods.tiny.weights import FOLDER

ROUNDING = 1e-5  # relative; processors round folded constants differently


def write_templates(folder: Path) -> None:
    """Replace the templates of all graphs in a folder."""
    for old in folder.glob("*.onnx"):
        old.unlink()
    model = catalogue.load_folder(FOLDER, "cpu", "exact")
    assert isinstance(model, TinySegmenter)
    for part in (*model.parts(), *browser_parts(model, Reading(model))):
        write_template(part, folder)


def check_templates() -> None:
    """Exit with the names of templates that are not those of the code."""
    with tempfile.TemporaryDirectory() as draft:
        write_templates(Path(draft))
        names = sorted({path.name for folder in (TEMPLATES, Path(draft)) for path in folder.glob("*.onnx")})
        if stale := [name for name in names if differ(TEMPLATES / name, Path(draft) / name)]:
            sys.exit(f"{', '.join(stale)} of {TEMPLATES} out of date: run `make graphs`")


def write_template(part: Part, folder: Path) -> None:
    """Trace a part to `NAME.onnx` in a folder, with the tensors of its state as inputs.

    Raises:
        ExportError: it cannot be exported.
    """
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


class WeightsAsInputs(nn.Module):
    """A module as a function of the tensors of its state, and then of its inputs."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self._names = tuple(module.state_dict())
        self._call = partial(functional_call, module)  # a sub-module's weights would be constants of the trace

    def forward(self, *tensors: Tensor) -> Any:
        n = len(self._names)
        return self._call(dict(zip(self._names, tensors[:n], strict=True)), tensors[n:])


def differ(one: Path, other: Path) -> bool:
    """Whether one of two graphs is missing, or they differ in more than the last digits of constants."""
    if not (one.exists() and other.exists()):
        return True
    (nodes, constants), (other_nodes, other_constants) = (_without_constants(onnx.load(path)) for path in (one, other))
    return nodes != other_nodes or not all(
        np.allclose(array, other_constants[name], rtol=ROUNDING, atol=0) for name, array in constants.items()
    )


def _without_constants(model: ModelProto) -> tuple[bytes, dict[str, Any]]:
    """A graph without the values of its constants, and these by name."""
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for tensor in model.graph.initializer:
        tensor.ClearField("raw_data")
    return model.SerializeToString(deterministic=True), constants


if __name__ == "__main__":
    if sys.argv[1:] == ["check"]:
        check_templates()
    else:
        write_templates(TEMPLATES)
