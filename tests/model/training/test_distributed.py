"""Rows of every process in one tensor: values, order, gradients."""

from __future__ import annotations

from pathlib import Path

import torch

from lexiseg_model.training.distributed import gather, rank
from tests.processes import run_together


def weighted_sum() -> tuple[list[list[float]], list[list[float]]]:
    """Rows that a process sees, and the gradient of its own two, where loss r weighs row i by 10 ** r * (i + 1)."""
    own = (torch.tensor([[1.0], [2.0]]) + 10 * rank()).requires_grad_()
    rows = gather(own)
    (rows * 10 ** rank() * torch.arange(1.0, 5.0)[:, None]).sum().backward()
    assert own.grad is not None
    return rows.tolist(), own.grad.tolist()


def test_rows_come_in_the_order_of_ranks_and_gradients_from_every_process(tmp_path: Path) -> None:
    first, second = run_together(2, weighted_sum, tmp_path)

    assert first[0] == second[0] == [[1], [2], [11], [12]]
    assert (first[1], second[1]) == ([[11], [22]], [[33], [44]])
