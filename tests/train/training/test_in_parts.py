"""A step in parts and in processes: the gradients of one pass over all its pairs, randomness and statistics as well."""

from pathlib import Path
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lexiseg_train.training.learner import Learner
from tests.once import kept
from tests.processes import run_as_by_torchrun
from tests.train.training.in_parts import STEPS, gradients, work
from tests.train.training.toy import recipe_for

# Of the whole gradient; measured up to 4e-13 and, over two processes, 7e-5: looser ones would hide a fault.
TOLERANCES = {"float64": 1e-11, "float32": 2e-4}
CASES = [(2, "float32"), (8, "float64")]
# Parts in each of two processes, their sharding, and the number type.
TOGETHER = ["2-none-float32", "4-full-float64"]


@kept
def whole(method: str, kind: str) -> dict[str, Tensor]:
    return gradients(method, 1, getattr(torch, kind))


def distance(ours: dict[str, Tensor], expected: dict[str, Tensor]) -> float:
    """Length of the difference by length."""
    assert ours.keys() == expected.keys()
    off, length = (
        torch.stack([one.double().norm() for one in each]).norm()
        for each in ([ours[name] - expected[name] for name in expected], expected.values())
    )
    return float(off / length)


@pytest.mark.slow
@pytest.mark.parametrize(("n_parts", "kind"), CASES)
@pytest.mark.parametrize("method", STEPS)
def test_parts_have_the_gradients_of_the_whole_step(method: str, n_parts: int, kind: str) -> None:
    ours = gradients(method, n_parts, getattr(torch, kind))

    assert distance(ours, whole(method, kind)) < TOLERANCES[kind]


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("in-parts")
    run_as_by_torchrun(2, work, [f"{method}-{how}" for method in STEPS for how in TOGETHER], out)
    return out


@pytest.mark.slow
@pytest.mark.parametrize("how", TOGETHER)
@pytest.mark.parametrize("method", STEPS)
def test_two_processes_with_parts_have_the_gradients_of_the_whole_step(together: Path, method: str, how: str) -> None:
    kind = how.rpartition("-")[2]
    expected = {name: gradient for name, gradient in whole(method, kind).items() if name != "loss"}

    for rank in range(2):
        ours = torch.load(together / f"{method}-{how}-{rank}.pt", weights_only=True)

        assert all(not ours[name].any() for name in ours.keys() - expected.keys() - {"loss"})  # FSDP's zeros
        assert distance({name: ours[name] for name in expected}, expected) < TOLERANCES[kind]


class Row(NamedTuple):
    vectors: Tensor


class Dropping(nn.Module):
    """Dropout and a batch norm before the rows; keeps what it computed."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(4)
        self.seen: list[Tensor] = []

    def forward(self, inputs: Tensor) -> Row:
        self.seen.append(F.dropout(self.norm(inputs), 0.5, self.training))
        return Row(self.seen[-1])


def test_both_passes_draw_the_same_numbers_and_statistics_count_once() -> None:
    torch.manual_seed(0)
    network = Dropping()
    learner = Learner(recipe_for(), network, torch.device("cpu"))
    learner.begin(0.1)

    learner.backward_over_rows(network, lambda rows: rows.vectors.square().mean(), torch.randn(3, 8, 4).unbind())

    assert all(torch.equal(*pair) for pair in zip(network.seen[1:3], network.seen[3:], strict=True))  # the first once
    assert not torch.equal(network.seen[0] == 0, network.seen[1] == 0)
    assert network.norm.num_batches_tracked == 3
