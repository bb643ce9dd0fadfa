"""Import ONNX Runtime, check its installation, and choose threads and execution providers; OpenVINO behind the
same interface."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lexiseg_model.errors import ExportError
from lexiseg_model.export.manifest import Bucket, default_cache_dir
from lexiseg_model.resources.device import cores

Provider = tuple[str, dict[str, Any]]
TENSORRT = "TensorrtExecutionProvider"
TELEMETRY = "openvino_telemetry"


def installed() -> dict[str, str]:
    """Versions of the installed packages that provide `import onnxruntime`, by package."""
    versions = {}
    for name in ("onnxruntime", "onnxruntime-gpu"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def require() -> ModuleType:
    """Import `onnxruntime`, with telemetry off unless ORT_DISABLE_TELEMETRY is 0."""
    versions = installed()
    if not versions:
        raise ExportError(
            "runtime onnx needs ONNX Runtime, which is not installed: `pip install onnxruntime`, "
            "or `pip install onnxruntime-gpu` for CUDA"
        )
    if len(versions) > 1:
        raise ExportError(
            f"{' and '.join(versions)} are both installed and overwrite each other's files: "
            f"`pip uninstall {' '.join(versions)}`, then `pip install` one of the two"
        )
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read when the library is loaded
    return import_module("onnxruntime")


@cache
def preload() -> None:
    """Load the CUDA and cuDNN libraries of torch and of NVIDIA's packages, once a process.

    The CUDA provider searches only system folders, and falls back to the CPU if it finds none.
    """
    require().preload_dlls()


def require_provider(session: Any, device: torch.device, provider: str) -> None:
    """Raise ExportError where a session for a CUDA device lacks the provider that it is for, which silently failed."""
    used = list(session.get_providers())
    if device.type == "cuda" and provider not in used:
        library = "TensorRT 10" if provider == TENSORRT else "cuDNN 9"
        raise ExportError(
            f"device {device} with runtime onnx: {provider} could not start there, ONNX Runtime would use "
            f"{', '.join(used)}; it needs the CUDA version of torch ({torch.version.cuda}) and {library}"
        )


def threads() -> int:
    """Threads of one session: OMP_NUM_THREADS, else the number of cores available to this process."""
    setting = os.environ.get("OMP_NUM_THREADS", "")
    if setting.isdecimal() and int(setting) > 0:
        return int(setting)
    return cores()


def providers(device: torch.device, *, exact: bool) -> list[Provider]:
    """Execution providers for a device, the preferred one first; each operator runs on the first that supports it.

    Matrix products are `exact` in full float32, else in TF32 on CUDA.
    """
    cpu: Provider = ("CPUExecutionProvider", {})
    if device.type == "cpu":
        return [cpu]
    if device.type != "cuda":
        raise ExportError(
            f"device {device} with runtime onnx: it runs graphs on cpu or cuda; runtime torch runs on {device}"
        )
    available = require().get_available_providers()
    if "CUDAExecutionProvider" not in available:
        raise ExportError(
            f"device {device} with runtime onnx needs onnxruntime-gpu in place of onnxruntime; "
            f"the installed one has {', '.join(available)}"
        )
    cuda: Provider = (
        "CUDAExecutionProvider",
        {
            "device_id": device.index or 0,
            # Doubling the arena would take memory that torch's text tower on the same device needs.
            "arena_extend_strategy": "kSameAsRequested",
            # An exhaustive search would run for each new shape.
            "cudnn_conv_algo_search": "HEURISTIC",
            "use_tf32": int(not exact),
        },
    )
    return [cuda, cpu]


def tensorrt(device: torch.device, *, exact: bool) -> Provider:
    """The provider that compiles a graph for one GPU, in halves unless `exact`; it keeps what it compiled."""
    if device.type != "cuda":
        raise ExportError(f"device {device} with runtime tensorrt: it runs graphs on cuda; set LEXISEG_DEVICE=cuda")
    available = require().get_available_providers()
    if TENSORRT not in available:
        raise ExportError(
            "runtime tensorrt needs onnxruntime-gpu in place of onnxruntime, and `pip install tensorrt`; "
            f"the installed one has {', '.join(available)}"
        )
    folder = str(default_cache_dir() / "tensorrt")
    return (
        TENSORRT,
        {
            "device_id": device.index or 0,
            "trt_fp16_enable": not exact,
            "trt_engine_cache_enable": True,
            "trt_engine_cache_path": folder,
            "trt_timing_cache_enable": True,
            "trt_timing_cache_path": folder,
        },
    )


def require_openvino() -> ModuleType:
    """Import `openvino` without its telemetry."""
    # `import openvino` sends an event to Google Analytics, unless this module cannot be imported.
    sys.modules.setdefault(TELEMETRY, None)  # type: ignore[arg-type]
    try:
        return import_module("openvino")
    except ImportError:
        raise ExportError("runtime openvino needs OpenVINO, which is not installed: `pip install openvino`") from None


class OpenVinoSession:
    """The graph of an image pass, compiled for one tile at a time. Thread-safe."""

    def __init__(self, graph: bytes, size: Bucket | None, threads: int) -> None:
        """Compile the ONNX file `graph`, which takes tiles of one size or, if `size` is None, of any."""
        openvino = require_openvino()
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
