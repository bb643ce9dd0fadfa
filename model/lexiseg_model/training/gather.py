"""Rows of every process in one tensor, with gradients: contrastive losses take their negatives from all of them."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        parts = [torch.empty_like(rows) for _ in range(world_size())]
        dist.all_gather(parts, rows.contiguous())
        ctx.n_rows = len(rows)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        # Every process used these rows in its own loss: what they say is added up.
        total = gradients[0].clone()
        dist.all_reduce(total)
        return total.narrow(0, rank() * ctx.n_rows, ctx.n_rows)


def rank() -> int:
    """Of this process; 0 without torch.distributed."""
    return dist.get_rank() if _distributed() else 0


def world_size() -> int:
    """How many processes there are; 1 without torch.distributed."""
    return dist.get_world_size() if _distributed() else 1


def gather(rows: Tensor) -> Tensor:
    """[B, ...] of each process -> [world * B, ...] in the order of ranks, the same everywhere.

    The gradient of a row is the sum over all processes. Every process has the same B. Without torch.distributed the
    rows themselves.
    """
    if not _distributed():
        return rows
    gathered: Tensor = _Gather.apply(rows)  # type: ignore[no-untyped-call]
    return gathered


def _distributed() -> bool:
    return dist.is_available() and dist.is_initialized()
