"""A batch norm shared by two processes equals torch's over both batches joined, forward and backward."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from lexiseg_model.training.batch_norm import share_norms
from lexiseg_model.training.distributed import rank
from tests.processes import run_together


class Case(NamedTuple):
    """Maps of both processes, of which the first gets `first` rows, and the tolerance of rounding."""

    shape: tuple[int, ...]
    first: int
    dtype: torch.dtype = torch.float64
    affine: bool = True
    momentum: float | None = 0.1
    tolerance: float = 1e-10


CASES = {
    "float64": Case((6, 5, 4, 7), 3),
    "unequal batches": Case((7, 5, 4, 7), 2),
    "rows of float32": Case((9, 6), 4, torch.float32, tolerance=2e-4),
    "without weights": Case((6, 5, 4, 7), 2, affine=False),
    "mean over all steps": Case((6, 5, 3), 2, momentum=None),
}
STEPS = 2  # the second with other numbers, for running statistics
Steps = list[dict[str, Tensor]]


def norm_of(case: Case) -> nn.Module:
    """A norm with random weights, beside a layer whose device decides about the kind of norm."""
    kind = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d}[len(case.shape)]
    norm = kind(case.shape[1], affine=case.affine, momentum=case.momentum).to(case.dtype)
    random = torch.Generator().manual_seed(1)
    for parameter in norm.parameters():
        parameter.data = torch.randn(parameter.shape, generator=random, dtype=case.dtype)
    return share_norms(nn.ModuleList([norm, nn.Linear(1, 1)]))[0]


def passed(case: Case, rows: slice) -> Steps:
    """Outputs, gradients and running statistics of each step by name; maps lie far from zero."""
    norm = norm_of(case)
    steps = []
    for step in range(STEPS):
        random = torch.Generator().manual_seed(step)
        maps, weights = (torch.randn(case.shape, generator=random, dtype=torch.float64) for _ in range(2))
        offsets = 20 * torch.randn(case.shape[1], generator=random, dtype=torch.float64)
        own = (maps + offsets.view(1, -1, *(1 for _ in case.shape[2:])))[rows].to(case.dtype).requires_grad_()
        norm.zero_grad()
        outputs = norm(own)
        (outputs * weights[rows].to(case.dtype)).sum().backward()
        assert own.grad is not None
        gradients = {name: each.grad.clone() for name, each in norm.named_parameters() if each.grad is not None}
        statistics = {name: buffer.clone() for name, buffer in norm.named_buffers()}
        steps.append({"outputs": outputs.detach(), "to the maps": own.grad, **gradients, **statistics})
    return steps


def passed_by_rank() -> dict[str, Steps]:
    return {
        name: passed(case, slice(case.first) if rank() == 0 else slice(case.first, None))
        for name, case in CASES.items()
    }


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Steps]]:
    return run_together(2, passed_by_rank, tmp_path_factory.mktemp("norms"))


@pytest.mark.parametrize("name", CASES)
def test_a_shared_norm_is_torchs_own_over_both_batches(shared: list[dict[str, Steps]], name: str) -> None:
    case = CASES[name]

    joined = passed(case, slice(None))

    first, second = shared[0][name], shared[1][name]
    for step in range(STEPS):
        assert first[step].keys() == joined[step].keys()
        for part, expected in joined[step].items():
            ours = _together(part, first[step][part], second[step][part])
            distance = (ours - expected).abs().max().item() / max(1.0, expected.abs().max().item())
            assert distance <= case.tolerance, f"step {step}: {part} is off by {distance}"


def _together(part: str, first: Tensor, second: Tensor) -> Tensor:
    """Concatenate maps, add gradients of weights; statistics must be equal."""
    if part in ("outputs", "to the maps"):
        return torch.cat([first, second])
    if part in ("weight", "bias"):
        return first + second
    assert torch.equal(first, second), f"{part} differs between processes"
    return first
