"""Device and number type of a model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from lexiseg_model.errors import OptionError
from lexiseg_model.types import Precision


@dataclass(frozen=True)
class Execution:
    """Device, precision, and the folder of the text tower if it does not lie beside the weights."""

    device: torch.device
    precision: Precision = "fast"
    text_tower: Path | None = None

    @property
    def dtype(self) -> torch.dtype:
        """Number type of the image pass: float32 when exact, else what the device multiplies fastest."""
        return torch.float32 if self.precision == "exact" else inference_dtype(self.device)


def choose_device(name: str) -> torch.device:
    """`auto` takes a CUDA device when there is one.

    Raises:
        OptionError: the name is no device of this machine.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise OptionError(f"device {name!r}; expected auto, cpu, cuda or cuda:N")
    if device.type == "cuda" and not torch.cuda.is_available():
        built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built for CPUs"
        raise OptionError(
            f"device {name!r} was asked for, but torch finds no CUDA device; this torch is {torch.__version__}, {built}"
        )
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise OptionError(f"device {name!r} was asked for; there are cuda:0 to cuda:{torch.cuda.device_count() - 1}")
    return device


def inference_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the hardware multiplies it itself, float32 elsewhere: emulated, it takes many times as long."""
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        # oneDNN says that it supports the type wherever there is AVX-512, with or without instructions for it.
        native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if native else torch.float32
