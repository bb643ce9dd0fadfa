"""How far a run is: its budget and learning rate, random states, and the checkpoint that it resumes from."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from lexiseg_model.catalogue.weights import read_torch
from lexiseg_model.errors import RecipeError
from lexiseg_train.training.recipe import BUDGETS, CHECKPOINT, RunRecipe, require_same_recipe

ROUNDING = 1e-12  # of shares
PLATEAU = "plateau.pt"  # checkpoint from before the learning rate decays
LENGTHS = (*BUDGETS, "decay_steps", "decay_share")  # settings of the run's length and decay


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


def rate_factor(recipe: RunRecipe, step: int, share: float, warmed: float) -> float:
    """Factor of step `step`, from 0, with `share` of the run before it, and `warmed` at the end of warm-up."""
    warm, warmup, start = 1.0, recipe.warmup_steps, recipe.warmup_from
    if step < warmup:
        warm = (step + 1) / warmup if start is None else start + (1 - start) * step / warmup
    if recipe.schedule == "multistep":
        return warm * recipe.milestone_factor ** sum(milestone <= share for milestone in recipe.milestones)
    if recipe.schedule == "cosine":
        past = 0.0 if step < warmup or warmed >= 1 else max(0.0, (share - warmed) / (1 - warmed))
        left = (1 + math.cos(math.pi * past)) / 2
    else:
        decay = decay_share(recipe)
        left = min(1.0, (1 - share) / decay + ROUNDING) if decay else 1.0
    return warm * (recipe.last_rate + (1 - recipe.last_rate) * left)


def decay_share(recipe: RunRecipe) -> float:
    """Share of the run in which the plateau decays; 0 for other curves."""
    if recipe.schedule != "warmup-stable-decay":
        return 0.0
    return recipe.decay_steps / recipe.steps if recipe.steps and recipe.decay_steps else recipe.decay_share


def begin_random(seed: list[int]) -> None:
    place = int(np.random.default_rng(seed).integers(2**32))
    random.seed(place)
    np.random.seed(place)
    torch.manual_seed(place)


def random_states(device: torch.device) -> dict[str, Any]:
    """States of Python's, numpy's and torch's generators, on the CPU and on a GPU."""
    kind, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)
    states = {
        "python": random.getstate(),
        "numpy": (kind, torch.from_numpy(np.array(keys, np.int64)), position, has_gauss, gauss),
        "torch": torch.get_rng_state(),
    }
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def restore_random(states: Mapping[str, Any], device: torch.device) -> None:
    random.setstate(states["python"])
    kind, keys, *rest = states["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(states["torch"].cpu())
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"].cpu(), device)


@contextmanager
def kept_random(device: torch.device) -> Iterator[None]:
    states = random_states(device)
    try:
        yield
    finally:
        restore_random(states, device)


class Checkpoint(NamedTuple):
    """The state to resume from, and a line about it for the log."""

    state: dict[str, Any]
    message: str


def find_checkpoint(recipe: RunRecipe, share: Callable[[Reached], float]) -> Checkpoint | None:
    """The newest checkpoint of a run, or its plateau where the rate had begun to decay and the length has changed."""
    state = _read(recipe.out / CHECKPOINT, recipe)
    if state is None:
        return None
    before, now = state["recipe"], recipe.model_dump(mode="json")
    changes = [
        f"{name} was {_in_words(before[name])}, is {_in_words(now[name])}"
        for name in LENGTHS
        if before[name] != now[name]
    ]
    at_end = share(Reached(state["step"], state["crops"], state["seconds"])) >= 1
    if not changes or at_end or not state["decayed"]:
        notes = "; ".join([*changes, *(["nothing is left to train"] if at_end else [])])
        return Checkpoint(state, f"{_resumed_at(state)}{': ' if notes else ''}{notes}")
    plateau = _read(recipe.out / PLATEAU, recipe)
    why = "; ".join(changes)
    if plateau is None:
        return Checkpoint(state, f"{_resumed_at(state)}: {why}; without {PLATEAU} the learning rate jumps here")
    again = state["step"] - plateau["step"]
    message = (
        f"{_resumed_at(plateau)} ({PLATEAU}), not at step {state['step']:,}: {why}, and the learning rate decayed from "
        f"there; {again:,} steps are trained again"
    )
    return Checkpoint(plateau, message)


def _read(path: Path, recipe: RunRecipe) -> dict[str, Any] | None:
    if not path.exists():
        return None
    state = dict(read_torch(path))
    if missing := {"recipe", "step"} - state.keys():
        raise RecipeError(f"{path} is not the checkpoint of a training: it has no {min(missing)}; choose another out=")
    require_same_recipe(path, state["recipe"], recipe)
    return state


def _resumed_at(state: dict[str, Any]) -> str:
    return f"resumed at step {state['step']:,}, {state['seconds'] / 60:.1f} minutes"


def _in_words(value: float | None) -> str:
    return "not set" if value is None else f"{value:,.10g}"
