"""From which checkpoint a run goes on, and the sentence that says so."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from lexiseg_model.training.checkpoints.checkpoint import read_checkpoint
from lexiseg_model.training.checkpoints.same import CHECKPOINT
from lexiseg_model.training.recipe import BUDGETS, RunRecipe
from lexiseg_model.training.steps.schedule import Budget, Reached

PLATEAU = "plateau.pt"  # the checkpoint where the rate began to fall
LENGTHS = (*BUDGETS, "decay_steps", "decay_share")  # what says how long a run is, and when its rate falls


class Checkpoint(NamedTuple):
    """What a run kept, and what is to be said of going on from there."""

    state: dict[str, Any]
    told: str


def find_checkpoint(recipe: RunRecipe, budget: Budget, device: torch.device) -> Checkpoint | None:
    """The newest one; the plateau's where the rate had begun to fall and the run is to have another length.

    Raises:
        RecipeError: it was made by another recipe, or by processes that made a step of more or fewer batches.
    """
    state = read_checkpoint(recipe.out / CHECKPOINT, recipe, device)
    if state is None:
        return None
    changes = _changes(state, recipe)
    done = budget.share(Reached(state["step"], state["crops"], state["seconds"])) >= 1
    if not changes or done or not state["decayed"]:
        more = "; ".join([*changes, *(["nothing is left to train"] if done else [])])
        return Checkpoint(state, f"{_place(state)}{': ' if more else ''}{more}")
    plateau = read_checkpoint(recipe.out / PLATEAU, recipe, device)
    why = "; ".join(changes)
    if plateau is None:
        return Checkpoint(state, f"{_place(state)}: {why}; without {PLATEAU} it goes on from here at another rate")
    again = state["step"] - plateau["step"]
    told = (
        f"{_place(plateau)} ({PLATEAU}), not at step {state['step']:,}: {why}, and the learning rate fell from there "
        f"on; {again:,} steps are trained again"
    )
    return Checkpoint(plateau, told)


def _place(state: dict[str, Any]) -> str:
    return f"resumed at step {state['step']:,}, {state['seconds'] / 60:.1f} minutes"


def _changes(state: dict[str, Any], recipe: RunRecipe) -> list[str]:
    """How the length of the run is another than it was, a setting each."""
    before = state.get("recipe")
    if before is None:  # a checkpoint of 0.1: nothing else can be told
        return ["it is longer now"] if recipe.steps and state["step"] < recipe.steps else []
    now = recipe.model_dump(mode="json")
    return [f"{name} was {_said(before[name])}, is {_said(now[name])}" for name in LENGTHS if before[name] != now[name]]


def _said(value: float | None) -> str:
    return "not set" if value is None else f"{value:,.10g}"
