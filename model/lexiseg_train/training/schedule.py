"""Budget of a run and its learning rate: warm-up, then a plateau with a decay, a cosine, or steps."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from lexiseg_model.errors import RecipeError
from lexiseg_train.training.recipe import RunRecipe

ROUNDING = 1e-12  # of shares


class Reached(NamedTuple):
    """Progress of a run: steps, examples seen by all processes, seconds of training."""

    steps: int = 0
    examples: int = 0
    seconds: float = 0.0


def share_done(recipe: RunRecipe, n_examples: int | None, reached: Reached) -> float:
    """Share of a run over `n_examples` examples that is done, 0 to 1."""
    if recipe.steps is not None:
        return min(1.0, reached.steps / recipe.steps)
    if recipe.epochs is None:
        assert recipe.minutes is not None
        return min(1.0, reached.seconds / (60 * recipe.minutes))
    if not n_examples:
        raise RecipeError("epochs: this recipe draws at random and has no epochs; set steps or minutes")
    return min(1.0, reached.examples / (recipe.epochs * n_examples))


@dataclass(frozen=True)
class Schedule:
    """The learning rate as a share of its peak."""

    recipe: RunRecipe

    def factor(self, step: int, share: float, warmed: float) -> float:
        """Factor of step `step`, from 0, with `share` of the run before it, and `warmed` at the end of warm-up."""
        recipe = self.recipe
        warm, warmup, start = 1.0, recipe.warmup_steps, recipe.warmup_from
        if step < warmup:
            warm = (step + 1) / warmup if start is None else start + (1 - start) * step / warmup
        if recipe.schedule == "multistep":
            return warm * recipe.milestone_factor ** sum(milestone <= share for milestone in recipe.milestones)
        if recipe.schedule == "cosine":
            past = 0.0 if step < recipe.warmup_steps or warmed >= 1 else max(0.0, (share - warmed) / (1 - warmed))
            left = (1 + math.cos(math.pi * past)) / 2
        else:
            decay = self.decay_share
            left = min(1.0, (1 - share) / decay + ROUNDING) if decay else 1.0
        return warm * (recipe.last_rate + (1 - recipe.last_rate) * left)

    @property
    def decay_share(self) -> float:
        """Share of the run in which the plateau decays; 0 for other curves."""
        recipe = self.recipe
        if recipe.schedule != "warmup-stable-decay":
            return 0.0
        return recipe.decay_steps / recipe.steps if recipe.steps and recipe.decay_steps else recipe.decay_share
