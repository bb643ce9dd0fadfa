"""Short training runs: what their recipes share, recipes of a known class, the first batch, and all losses of a run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar
from unittest import mock

from lexiseg_train.training.recipe import LocalPhase, RunRecipe
from lexiseg_train.training.recipes.read import read_recipe
from lexiseg_train.training.run import Run

Batch = TypeVar("Batch")
Recipe = TypeVar("Recipe", bound=RunRecipe)

SHORT: dict[str, Any] = {
    "steps": 2, "warmup_steps": 0, "weight_decay": 0.05, "average_decay": 0.0, "checkpoint_minutes": 5, "workers": 0,
    "device": "cpu",
}  # fmt: skip


def first_batch(run: Run[Any, Any, Batch]) -> Batch:
    """Of the first phase, whole: one process, one forward pass."""
    phase = run.recipe.phases[0]
    return next(iter(run._batches(LocalPhase(phase.crop, phase.global_batch))))


def read_as(kind: type[Recipe], name: str, overrides: Sequence[str] = ()) -> Recipe:
    """`read_recipe` for a recipe of a known class."""
    recipe = read_recipe(name, overrides).recipe
    assert isinstance(recipe, kind)
    return recipe


class Finished(NamedTuple, Generic[Recipe]):
    """What a run leaves."""

    recipe: Recipe
    weights: Path
    losses: list[float]


def finished(run: Run[Recipe, Any, Batch]) -> Finished[Recipe]:
    """Train to the end."""
    losses: list[float] = []
    step = run._step

    def recorded(batch: Batch, *more: Batch) -> float:
        losses.append(step(batch, *more))
        return losses[-1]

    with mock.patch.object(run, "_step", recorded):
        weights = run.train()
    assert weights is not None
    return Finished(run.recipe, weights, losses)
