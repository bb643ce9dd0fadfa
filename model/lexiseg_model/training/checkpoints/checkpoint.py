"""What a run keeps on disk: files that are whole or not there, every random state, the recipe they were made by."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lexiseg_model.errors import RecipeError
from lexiseg_model.training.checkpoints.same import require_same_recipe
from lexiseg_model.training.gather import world_size
from lexiseg_model.training.recipe import RunRecipe

READABLE = 0o644  # a worker that serves the weights may be another user


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Writes a file that a kill at any moment leaves as it was or makes as it is to be; others may read it."""
    fresh = path.with_name(f"{path.name}.new")
    write(fresh)
    fresh.chmod(READABLE)
    with fresh.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(fresh, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the new name, too
    finally:
        os.close(folder)


def begin_random(seed: list[int]) -> None:
    """Every generator of this process begins at a place that the numbers decide."""
    place = int(np.random.default_rng(seed).integers(2**32))
    random.seed(place)
    np.random.seed(place)
    torch.manual_seed(place)


def random_states(device: torch.device) -> dict[str, Any]:
    """Every generator of this process that code may draw from: Python's, numpy's, torch's on the CPU and the GPU."""
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
    """Generators go on from `random_states`."""
    random.setstate(states["python"])
    kind, keys, *rest = states["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(states["torch"].cpu())
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"].cpu(), device)


@contextmanager
def kept_random(device: torch.device) -> Iterator[None]:
    """Whatever is drawn in here, generators stand afterwards where they stood."""
    states = random_states(device)
    try:
        yield
    finally:
        restore_random(states, device)


def read_checkpoint(path: Path, recipe: RunRecipe, device: torch.device) -> dict[str, Any] | None:
    """What a run kept; None where there is nothing. Raises as `spread` and `require_same_recipe`."""
    if not path.exists():
        return None
    state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    if "recipe" in state:  # not in those of 0.1
        there = dict(state["recipe"])
        # A step's batches may be spread otherwise, over processes or one after the other: their number counts.
        there["accumulation"] = spread(path, there["accumulation"], len(state["random"]), recipe.accumulation)
        require_same_recipe(path, there, recipe)
    return state


def spread(path: Path, accumulation: int, processes: int, accumulation_now: int) -> int:
    """What a recipe's `accumulation` is here, where it was `accumulation` when as many `processes` ran.

    Raises:
        RecipeError: a step would be of more or fewer batches than it was.
    """
    then, now = accumulation * processes, accumulation_now * world_size()
    if then != now and processes != world_size():
        raise RecipeError(
            f"{path} was made by {processes} processes, {then} batches a step; here are {world_size()}, {now} batches "
            "a step. Go on with as many processes, or with `accumulation` so that the product stays"
        )
    return accumulation_now if then == now else accumulation
