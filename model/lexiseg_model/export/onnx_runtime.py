"""Import ONNX Runtime, check its installation, and choose threads and execution providers."""

from __future__ import annotations

import os
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType
from typing import Any

import torch

from lexiseg_model.errors import ExportError
from lexiseg_model.export.manifest import default_cache_dir
from lexiseg_model.resources.device import cores

Provider = tuple[str, dict[str, Any]]
TENSORRT = "TensorrtExecutionProvider"


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
