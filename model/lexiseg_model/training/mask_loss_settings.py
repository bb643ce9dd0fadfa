"""Weights of the losses between masks; free of torch, for recipes hold them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class MaskLossSettings:
    """Weights, the same in the cost of matching and in the loss; defaults of MaskFormer."""

    focal: float = 20.0
    dice: float = 1.0
    alpha: float = 0.25  # share of the weight that pixels inside a mask have, RetinaNet
    gamma: float = 2.0  # how much less a pixel counts that is nearly right, RetinaNet


MASKFORMER = MaskLossSettings()
