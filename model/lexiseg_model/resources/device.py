"""Choose the device and number type of a model, check free memory, and count the memory of what is loaded."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from lexiseg_model.errors import OptionError, WeightsError
from lexiseg_model.types import Precision

PACKAGE = "lexiseg_model."
CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")


@dataclass(frozen=True)
class Execution:
    """Device, precision, and the folder of the text tower if it is not with the weights."""

    device: torch.device
    precision: Precision = "fast"
    text_tower: Path | None = None

    @property
    def dtype(self) -> torch.dtype:
        """Number type of the image pass: float32 if exact, else the fastest one of the device."""
        return torch.float32 if self.precision == "exact" else inference_dtype(self.device)


def choose_device(name: str) -> torch.device:
    """The device of a name; `auto` is a CUDA device if there is one, else the CPU."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda", "mps"):
        raise OptionError(f"device {name!r}; expected auto, cpu, cuda, cuda:N or mps")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise OptionError(f"device {name!r}: torch finds no Apple GPU; use auto or cpu")
    if device.type == "cuda" and not torch.cuda.is_available():
        built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built for CPUs"
        raise OptionError(f"device {name!r}: torch finds no CUDA device; this torch is {torch.__version__}, {built}")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise OptionError(f"device {name!r}; there are cuda:0 to cuda:{torch.cuda.device_count() - 1}")
    return device


def inference_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the hardware supports it natively, else float32: emulation is many times slower."""
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    elif device.type == "mps":
        native = False  # only some chips support it, and torch does not tell which
    else:
        # oneDNN reports support wherever there is AVX-512, even without bf16 instructions.
        native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if native else torch.float32


def forbid_tf32(device: torch.device) -> None:
    """Make convolutions of a CUDA device compute in full float32, in the whole process: torch's default is TF32."""
    if device.type == "cuda":
        torch.backends.cudnn.allow_tf32 = False


def wide(tensor: Tensor) -> Tensor:
    """A tensor of halves as float32; others as they are."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def widest_float(device: torch.device) -> torch.dtype:
    """float64; float32 on an Apple GPU, which has no float64."""
    return torch.float32 if device.type == "mps" else torch.float64


def free_bytes(device: torch.device) -> int | None:
    """Free memory of a device, or of the machine and this process's cgroup; None where it is unknown."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    limits = [limit for limit in (_machine_free(), _cgroup_free()) if limit is not None]
    return min(limits, default=None)


def cores(quota: Path = CPU_QUOTA) -> int:
    """Cores that this process may use: of its affinity, or fewer where `quota` of its cgroup (version 2) says so."""
    available = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    try:
        microseconds, period = map(int, quota.read_text(encoding="ascii").split())
    except (OSError, ValueError):  # another system, or no quota: `max`
        return available
    return max(1, min(available, ceil(microseconds / period)))


def require_memory(name: str, n_bytes: int, device: torch.device) -> None:
    """Raise WeightsError where a device has less memory free than the weights of a model need, in bytes."""
    free = free_bytes(device)
    if free is not None and n_bytes > free:
        raise WeightsError(
            f"{name} needs {n_bytes / 1e6:,.0f} MB for its weights, {device} has {free / 1e6:,.0f} MB free; stop other "
            "programs there, or choose a smaller model: `lexiseg models available`"
        )


def _machine_free() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:  # another system than Linux
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)


def _cgroup_free() -> int | None:
    """Free memory of the cgroup (version 2): its limit minus usage, where reclaimable page cache counts as free."""
    group = Path("/sys/fs/cgroup")
    try:
        limit = (group / "memory.max").read_text().strip()
        used = int((group / "memory.current").read_text())
        counted = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return None
    return None if limit == "max" else int(limit) - used + int(counted.get("inactive_file", 0))


def held_bytes(holder: object) -> int:
    """Bytes of all tensors and arrays reachable from an object; a shared storage counts once.

    Follows modules, objects of this package, dicts, lists, tuples and sets. Memory inside other libraries, such as a
    session of ONNX Runtime, is not counted.
    """
    storages: dict[int, int] = {}
    visited: set[int] = set()
    waiting = [holder]
    while waiting:
        current = waiting.pop()
        if id(current) in visited:
            continue
        visited.add(id(current))
        if isinstance(current, Tensor):
            storage = current.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
        elif isinstance(current, np.ndarray):
            storages.setdefault(current.ctypes.data, current.nbytes)
        else:
            waiting.extend(_references(current))
    return sum(storages.values())


def _references(holder: object) -> Iterable[object]:
    if isinstance(holder, dict):
        return holder.values()
    if isinstance(holder, list | tuple | set | frozenset):
        return holder
    if isinstance(holder, nn.Module) or type(holder).__module__.startswith(PACKAGE):
        # Modules of compiled or quantised code may have only slots.
        return vars(holder).values() if hasattr(holder, "__dict__") else ()
    return ()
