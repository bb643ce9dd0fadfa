"""Compile exported graphs with OpenVINO for the CPU, behind the interface of ONNX Runtime's sessions."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.errors import ExportError
from lexiseg_model.export.manifest import Bucket

TELEMETRY = "openvino_telemetry"


def require() -> ModuleType:
    """Import `openvino` without its telemetry."""
    # `import openvino` sends an event to Google Analytics, unless this module cannot be imported.
    sys.modules.setdefault(TELEMETRY, None)  # type: ignore[arg-type]
    try:
        return import_module("openvino")
    except ImportError:
        raise ExportError("runtime openvino needs OpenVINO, which is not installed: `pip install openvino`") from None


class Session:
    """The graph of an image pass, compiled for one tile at a time. Thread-safe."""

    def __init__(self, graph: bytes, size: Bucket | None, threads: int) -> None:
        """Compile the ONNX file `graph`, which takes tiles of one size or, if `size` is None, of any."""
        openvino = require()
        core = openvino.Core()
        model = core.read_model(graph)
        # With a batch of any size OpenVINO 2026.4 computes wrong sums in the first 8-bit convolution of `tiny`: its
        # shape is read for the batch, which prevents a fusion.
        model.reshape([1, 3, *(size or (-1, -1))])
        options = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": False,  # other processes use the cores, too
            "INFERENCE_PRECISION_HINT": "f32",  # the default is bfloat16 where the processor has it
        }
        self._compiled = core.compile_model(model, "CPU", options)

    def get_providers(self) -> list[str]:
        return ["OpenVINO"]

    def get_outputs(self) -> list[Any]:
        return [SimpleNamespace(name=output.any_name) for output in self._compiled.outputs]

    def run(self, names: Sequence[str] | None, inputs: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """The outputs of these names; None: all of the graph, in order."""
        request = self._compiled.create_infer_request()  # a request serves one thread
        results = request.infer(dict(inputs))
        return [np.asarray(results[name]) for name in names or self._compiled.outputs]
