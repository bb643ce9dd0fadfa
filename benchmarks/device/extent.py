"""How much is measured: a CPU takes a second for what a GPU does in a millisecond."""

from __future__ import annotations

from typing import NamedTuple

import torch


class Extent(NamedTuple):
    """Batches and repetitions."""

    tiles: tuple[int, ...]  # of `tiny` in an image pass
    images: tuple[int, ...]  # of 448 x 448 in a pass of ViT-B/16
    warm_ups: int  # of each piece of work, before its rounds
    rounds: int
    clients: int
    served_rounds: int
    served_seconds: float  # in each of these


ON_A_GPU = Extent((1, 2, 4, 8, 16, 32), (1, 8, 32, 64), 5, 30, 32, 5, 4.0)
ON_A_CPU = Extent((1, 4), (1,), 1, 3, 32, 3, 2.0)


def extent_for(device: torch.device) -> Extent:
    """What such a device does in a few minutes."""
    return ON_A_CPU if device.type == "cpu" else ON_A_GPU
