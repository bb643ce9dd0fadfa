"""Short training runs: what their recipes share, recipes of a known class, and the first batch of a run."""

from collections.abc import Sequence
from typing import Any, TypeVar

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
