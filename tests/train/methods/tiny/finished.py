"""A training run and the loss of each of its steps."""

from pathlib import Path
from typing import Generic, NamedTuple, TypeVar
from unittest import mock

from torch import nn

from lexiseg_model.methods.tiny.weights import FILE
from lexiseg_train.training.recipe import RunRecipe
from lexiseg_train.training.run import Run

Recipe = TypeVar("Recipe", bound=RunRecipe)
Network = TypeVar("Network", bound=nn.Module)
Batch = TypeVar("Batch")


class Finished(NamedTuple, Generic[Recipe]):
    """What a run leaves."""

    recipe: Recipe
    weights: Path
    losses: list[float]


def finished(run: Run[Recipe, Network, Batch]) -> Finished[Recipe]:
    """Train to the end."""
    losses: list[float] = []
    step = run._step

    def recorded(batch: Batch, *more: Batch) -> float:
        losses.append(step(batch, *more))
        return losses[-1]

    with mock.patch.object(run, "_step", recorded):
        run.train()
    return Finished(run.recipe, run.recipe.out / FILE, losses)
