"""Measures what a run will take: a few batches of each phase, forward and backward, without updating weights."""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from lexiseg_train.training.processes import world_size
from lexiseg_train.training.recipe import Division, LocalPhase, RunRecipe, divide
from lexiseg_train.training.recipes.prerequisites import is_finished, plan_of
from lexiseg_train.training.recipes.read import Planned
from lexiseg_train.training.recipes.training import Training
from lexiseg_train.training.run import Run

MIB = 2**20
ROUNDS = 3  # measured in each phase, of steps of one batch


def rehearse(planned: Planned, prefix: str) -> float | None:
    """Run a few batches of each phase and print figures; returns minutes of training, None if it is not in steps."""
    training, recipe = planned.training, planned.recipe
    ends = [phase.after for phase in recipe.phases[1:]] + [1.0]
    mean = 0.0  # seconds of a step
    with tempfile.TemporaryDirectory(prefix="lexiseg-dry-run-") as folder:
        trainer, before = training.rehearsal(_with_prerequisites(training, recipe, Path(folder)), Path(folder))
        if before:
            print(f"{prefix}before the first step {before}", flush=True)
        whole = trainer.recipe
        for phase, end in zip(recipe.phases, ends, strict=True):
            batch, accumulation = division = divide(phase.global_batch, world_size(), recipe.micro_batch)
            # A trainer reads the current phase from its recipe.
            trainer.recipe = whole.model_copy(update={"phases": [phase.model_copy(update={"after": 0.0})]})
            seconds = _seconds(trainer, phase.crop, division)
            mean += (end - phase.after) * seconds
            line = (
                f"{prefix}steps of {phase.global_batch:,} at {phase.crop} pixels, from {phase.after:.0%} on: "
                f"{accumulation:,} x {batch} in one process, {seconds:.2f} s a step; "
                f"memory in use: {_peak(trainer.device) / MIB:,.0f} MiB"
            )
            print("; ".join(filter(None, (line, trainer.in_words(phase)))), flush=True)
    return None if recipe.steps is None else recipe.steps * mean / 60


def _with_prerequisites(training: Training[Any], recipe: RunRecipe, folder: Path) -> RunRecipe:
    """The recipe with untrained weights in place of missing prerequisites: a step takes as long."""
    for prerequisite in training.prerequisites(recipe):
        if is_finished(prerequisite.file):
            continue
        first = plan_of(prerequisite, recipe)
        own = first.recipe.model_copy(update={"out": folder / prerequisite.key})
        trainer = first.training.trainer(_with_prerequisites(first.training, own, folder))
        file = own.out / prerequisite.file.name
        file.parent.mkdir(exist_ok=True)
        with trainer.learner.whole():
            trainer.write_weights(file)
        several = isinstance(getattr(recipe, prerequisite.key), list)
        recipe = recipe.model_copy(update={prerequisite.key: [file] if several else file})
    return recipe


def _seconds(trainer: Run[Any, Any, Any], crop: int, division: Division) -> float:
    """Seconds of the passes of a step, measured with one and with two of its batches."""
    batches = trainer.batches(LocalPhase(crop, division.batch), 0)

    def timed(together: int) -> float:
        began = time.perf_counter()
        trainer.rehearse([next(batches) for _ in range(together)], division.accumulation)  # waits for the device
        trainer.network.zero_grad()
        return time.perf_counter() - began

    timed(1)  # to warm up
    if division.accumulation == 1:
        return min(timed(1) for _ in range(ROUNDS))
    return of_a_step(timed(1), timed(2), division.accumulation)


def of_a_step(one: float, two: float, batches: int) -> float:
    """Seconds of a step of so many batches, from steps with one and two; what they do not share comes once."""
    each = two - one if two > one else two / 2  # noise hides what comes once
    return two + (batches - 2) * each


def _peak(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak  # Linux counts KiB
