"""The number type of a training step."""

from __future__ import annotations

import torch

from lexiseg_model.device import inference_dtype
from lexiseg_model.training.recipe import Numbers


def number_type(name: Numbers, device: torch.device) -> torch.dtype:
    """What autocast multiplies in; `auto`: what the device itself multiplies fastest, as when it serves."""
    return inference_dtype(device) if name == "auto" else getattr(torch, name)
