"""The onnxruntime package: there or not, and what it can run on here."""

from __future__ import annotations

import os
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType
from typing import Any

import torch

from lexiseg_model.errors import ExportError

Provider = tuple[str, dict[str, Any]]


def installed() -> dict[str, str]:
    """Versions of the two packages that provide `import onnxruntime`."""
    versions = {}
    for name in ("onnxruntime", "onnxruntime-gpu"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def require() -> ModuleType:
    """`onnxruntime`, which tells its makers nothing of its use unless ORT_DISABLE_TELEMETRY is set to 0.

    Raises:
        ExportError: neither of its two packages is installed, or both, which overwrite each other's files.
    """
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
    """Loads the libraries of CUDA and cuDNN that lie beside torch and in NVIDIA's packages, once a process.

    The provider itself looks for them where the system keeps libraries, finds none in an image without them, and leaves
    its work to the CPU.
    """
    loading = getattr(require(), "preload_dlls", None)
    if loading is not None:
        loading()


def require_provider(session: Any, device: torch.device) -> None:
    """A session that was meant for a CUDA device runs there.

    Raises:
        ExportError: it would run on the CPU: ONNX Runtime leaves out a provider that cannot begin, and goes on.
    """
    used = list(session.get_providers())
    if device.type == "cuda" and "CUDAExecutionProvider" not in used:
        raise ExportError(
            f"device {device} with runtime onnx: ONNX Runtime could not begin there and would use {', '.join(used)}; "
            f"its CUDA has to be that of torch ({torch.version.cuda}), with cuDNN 9"
        )


def threads() -> int:
    """Threads of one session: the cores this process may use, or OMP_NUM_THREADS."""
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return int(wanted) if wanted.isdecimal() and int(wanted) > 0 else len(os.sched_getaffinity(0))


def providers(device: torch.device, *, exact: bool) -> list[Provider]:
    """Execution providers for a device, the fastest first; ONNX Runtime goes on to the next for what one cannot do.

    Args:
        device: cpu or cuda.
        exact: products in full float32; else TF32 on CUDA.

    Raises:
        ExportError: the device is a CUDA device, and ONNX Runtime here has no provider for it.
    """
    cpu: Provider = ("CPUExecutionProvider", {})
    if device.type == "cpu":
        return [cpu]
    available = require().get_available_providers()
    if "CUDAExecutionProvider" not in available:
        raise ExportError(
            f"device {device} with runtime onnx needs onnxruntime-gpu in place of onnxruntime; "
            f"this ONNX Runtime has {', '.join(available)}"
        )
    cuda: Provider = (
        "CUDAExecutionProvider",
        {
            "device_id": device.index or 0,
            # Doubling the arena at each growth takes memory that torch's text tower on the same device needs.
            "arena_extend_strategy": "kSameAsRequested",
            # The exhaustive search would run again for each new shape.
            "cudnn_conv_algo_search": "HEURISTIC",
            "use_tf32": int(not exact),
        },
    )
    return [cuda, cpu]
