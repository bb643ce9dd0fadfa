"""A training run with a few weights: dropout, batch norm and numbered batches under the whole `Run`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lexiseg_train.training.recipe import LocalPhase, Phase, RunRecipe
from lexiseg_train.training.run import Run
from lexiseg_train.training.stream import Stream

INPUTS, HIDDEN = 4, 8


class ToyRecipe(RunRecipe):
    """Nothing of its own."""


class ToyBatch(NamedTuple):
    """`inputs` [B, 4], `wanted` [B]."""

    number: int
    inputs: Tensor
    wanted: Tensor


@dataclass(frozen=True)
class Sums(Stream[ToyBatch]):
    """Random vectors and their sums."""

    batch: int
    seed: int

    def make(self, number: int, random: np.random.Generator) -> ToyBatch:
        inputs = torch.from_numpy(random.standard_normal((self.batch, INPUTS), np.float32))
        # Views draw from torch's own generator, as augmentations of others do.
        return ToyBatch(number, inputs + 0.01 * torch.randn_like(inputs), inputs.sum(1))


class ToyNetwork(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(INPUTS, HIDDEN)
        self.norm = nn.BatchNorm1d(HIDDEN)
        self.second = nn.Linear(HIDDEN, 1)
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, inputs: Tensor) -> Tensor:
        """[B, 4] -> [B]."""
        hidden = F.dropout(F.relu(self.norm(self.first(inputs))), 0.2, self.training)
        answered: Tensor = self.scale * self.second(hidden)[:, 0]
        return answered


class ToyRun(Run[ToyRecipe, ToyNetwork, ToyBatch]):
    """Learns the sums."""

    def __init__(self, recipe: ToyRecipe) -> None:
        torch.manual_seed(recipe.seed)
        super().__init__(recipe, ToyNetwork())
        self.seen: list[int] = []

    def _batches(self, phase: LocalPhase) -> Sums:
        return Sums(phase.batch, self.recipe.seed)

    def _loss(self, batch: ToyBatch) -> Tensor:
        self.seen.append(batch.number)
        with self.autocast():
            answered = self.network(batch.inputs)
        return F.mse_loss(answered.float(), batch.wanted)

    def _extra_figures(self) -> dict[str, float]:
        return {"scale": self.network.scale.item()}

    def _weights(self) -> dict[str, Tensor]:
        return self.average

    def _validate(self) -> dict[str, float]:
        fixed = torch.linspace(-1, 1, 5 * INPUTS).view(5, INPUTS)
        return {"error": F.mse_loss(self.network(fixed), fixed.sum(1)).item()}

    def _examples(self) -> int:
        return 32


def recipe_for(out: Path = Path("runs/toy"), **values: Any) -> ToyRecipe:
    """Ten steps of batches of four, unless said otherwise."""
    usual = {
        "steps": 10, "phases": [Phase(after=0, crop=64, global_batch=4)], "learning_rate": 0.01, "warmup_steps": 2,
        "weight_decay": 0.05, "average_decay": 0.9, "checkpoint_minutes": 10, "device": "cpu", "workers": 0,
        "precision": "float32",
    }  # fmt: skip
    return ToyRecipe.model_validate(usual | {"out": out} | values)


def finished(out: Path) -> dict[str, Any]:
    """What the checkpoint in a folder holds, without what is of the clock and of the folder."""
    state: dict[str, Any] = torch.load(out / "checkpoint.pt", weights_only=True)
    return {name: value for name, value in state.items() if name not in ("seconds", "warm", "recipe")}


def differences(one: Any, other: Any, where: str = "") -> list[str]:
    """Where two nests of tensors and values are not the same, bit by bit."""
    if isinstance(one, Tensor):
        same = isinstance(other, Tensor) and one.shape == other.shape and torch.equal(one, other)
        return [] if same else [where]
    if isinstance(one, dict) and isinstance(other, dict):
        keys = one.keys() | other.keys()
        return [
            bad for key in sorted(keys, key=str) for bad in differences(one.get(key), other.get(key), f"{where}/{key}")
        ]
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)) and len(one) == len(other):
        return [
            bad for i, pair in enumerate(zip(one, other, strict=True)) for bad in differences(*pair, f"{where}/{i}")
        ]
    return [] if one == other else [where]
