"""Batch norms of one process of two: python -m tests.model.training.processes.norms RANK FOLDER."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn

from lexiseg_model.training.processes.shared_norm import share_norms


class Case(NamedTuple):
    """What both processes are given together, `first` rows of it to the first; and how far rounding may go."""

    shape: tuple[int, ...]
    first: int
    dtype: torch.dtype = torch.float64
    channels_last: bool = False
    affine: bool = True
    momentum: float | None = 0.1
    tolerance: float = 1e-12


CASES = {
    "float64": Case((6, 5, 4, 7), 3),
    "unequal batches": Case((7, 5, 4, 7), 2),
    "channels last": Case((7, 16, 9, 8), 5, torch.float32, channels_last=True, tolerance=2e-5),
    "rows": Case((9, 6), 4),
    "rows of float32": Case((9, 6), 1, torch.float32, tolerance=2e-5),
    "without weights": Case((6, 5, 4, 7), 2, affine=False),
    "mean over all steps": Case((6, 5, 3), 2, momentum=None),
}
STEPS = 2  # the second with other numbers, for running statistics


def norm_of(case: Case) -> nn.Module:
    """With weights that are not 1 and biases that are not 0."""
    kind = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d}[len(case.shape)]
    norm = kind(case.shape[1], affine=case.affine, momentum=case.momentum).to(case.dtype)
    random = torch.Generator().manual_seed(1)
    for parameter in norm.parameters():
        parameter.data = torch.randn(parameter.shape, generator=random, dtype=case.dtype)
    return norm


def inputs_of(case: Case, step: int) -> tuple[Tensor, Tensor]:
    """Maps far from zero, whose squares would cancel, and what the loss weighs the outputs by."""
    random = torch.Generator().manual_seed(step)
    maps, weights = (torch.randn(case.shape, generator=random, dtype=torch.float64) for _ in range(2))
    offsets = 20 * torch.randn(case.shape[1], generator=random, dtype=torch.float64)
    maps = maps + offsets.view(1, -1, *(1 for _ in case.shape[2:]))
    return maps.to(case.dtype), weights.to(case.dtype)


def passed(norm: nn.Module, case: Case, rows: slice) -> list[dict[str, Tensor]]:
    """Of each step: outputs, gradients and running statistics, by name."""
    steps = []
    for step in range(STEPS):
        maps, weights = (part[rows] for part in inputs_of(case, step))
        if case.channels_last:
            maps = maps.contiguous(memory_format=torch.channels_last)
        maps.requires_grad_()
        norm.zero_grad()
        outputs = norm(maps)
        (outputs * weights).sum().backward()
        assert maps.grad is not None
        gradients = {name: each.grad.clone() for name, each in norm.named_parameters() if each.grad is not None}
        statistics = {name: buffer.clone() for name, buffer in norm.named_buffers()}
        steps.append({"outputs": outputs.detach(), "to the maps": maps.grad, **gradients, **statistics})
    return steps


def main(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=2)
    answers = {}
    for name, case in CASES.items():
        norm = share_norms(nn.Sequential(norm_of(case))) if case.affine else _without_weights(case)
        rows = slice(case.first) if rank == 0 else slice(case.first, None)
        answers[name] = [
            {part.removeprefix("0."): value for part, value in step.items()} for step in passed(norm, case, rows)
        ]
    torch.save(answers, folder / f"rank-{rank}.pt")
    dist.destroy_process_group()


def _without_weights(case: Case) -> nn.Module:
    """Beside a layer with weights, whose device says what kind of norm is meant."""
    together = share_norms(nn.ModuleList([norm_of(case), nn.Linear(1, 1)]))
    return together[0]


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
