"""A batch norm shared by two processes is torch's own over both batches joined, forward and backward."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.model.training.processes.norms import CASES, STEPS, norm_of, passed

SECONDS = 120  # a hung collective must not hang the tests
ROOT = Path(__file__).parents[4]
Steps = list[dict[str, Tensor]]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Steps]]:
    """Of each process what its norms gave, by case."""
    folder = tmp_path_factory.mktemp("norms")
    paths = os.pathsep.join([str(ROOT), str(ROOT / "model")])
    environment = os.environ | {"PYTHONPATH": paths, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    module = "tests.model.training.processes.norms"
    both = [
        subprocess.Popen(
            [sys.executable, "-m", module, str(rank), str(folder)],
            cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True,
        )
        for rank in range(2)
    ]  # fmt: skip
    try:
        for process in both:
            _, said = process.communicate(timeout=SECONDS)
            assert process.returncode == 0, said[-3000:]
    finally:
        for process in both:
            process.kill()
            process.communicate()
    return [torch.load(folder / f"rank-{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("name", CASES)
def test_a_shared_norm_is_torchs_own_over_both_batches(shared: list[dict[str, Steps]], name: str) -> None:
    case = CASES[name]

    joined = passed(norm_of(case), case, slice(None))

    first, second = shared[0][name], shared[1][name]
    for step in range(STEPS):
        assert first[step].keys() == joined[step].keys()
        for part, expected in joined[step].items():
            ours = _together(part, first[step][part], second[step][part])
            distance = (ours - expected).abs().max().item() / max(1.0, expected.abs().max().item())
            assert distance <= case.tolerance, f"step {step}: {part} is off by {distance}"


def test_maps_keep_the_layout_that_convolutions_are_fast_with(shared: list[dict[str, Steps]]) -> None:
    for step in shared[0]["channels last"]:
        for part in ("outputs", "to the maps"):
            assert step[part].is_contiguous(memory_format=torch.channels_last), part


def _together(part: str, first: Tensor, second: Tensor) -> Tensor:
    """Maps one after the other; gradients of weights are each process's own; statistics are the same everywhere."""
    if part in ("outputs", "to the maps"):
        return torch.cat([first, second])
    if part in ("weight", "bias"):
        return first + second
    assert torch.equal(first, second), f"{part} differs between processes"
    return first
