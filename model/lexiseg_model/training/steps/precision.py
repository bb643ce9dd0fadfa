"""The number type of a training step: bfloat16 where the processor multiplies it itself, float32 elsewhere."""

from __future__ import annotations

import torch

from lexiseg_model.training.recipe import Numbers


def number_type(name: Numbers, device: torch.device) -> torch.dtype:
    """What autocast multiplies in; `auto`: what is fast on the device."""
    return fast_type(device) if name == "auto" else getattr(torch, name)


def fast_type(device: torch.device) -> torch.dtype:
    """On a CPU without bfloat16 units an autocast step emulates them, many times slower than float32."""
    if device.type == "cpu":
        native = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    else:
        native = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.bfloat16 if native else torch.float32
