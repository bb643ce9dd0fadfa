"""Batch sizes and repetitions for a GPU, and fewer for a CPU."""

from __future__ import annotations

from typing import NamedTuple

import torch


class Workload(NamedTuple):
    """Batch sizes and repetitions."""

    tiles: tuple[int, ...]  # batch sizes of `tiny`
    images: tuple[int, ...]  # batch sizes of ViT-B/16 at 448 x 448
    warm_ups: int  # calls before the rounds
    rounds: int
    clients: int
    served_rounds: int
    served_seconds: float  # of load per served round


GPU_WORKLOAD = Workload((1, 2, 4, 8, 16, 32), (1, 8, 32, 64), 5, 30, 32, 5, 4.0)
CPU_WORKLOAD = Workload((1, 4), (1,), 1, 3, 32, 3, 2.0)


def workload_for(device: torch.device) -> Workload:
    """The workload that a device finishes in a few minutes."""
    return CPU_WORKLOAD if device.type == "cpu" else GPU_WORKLOAD
