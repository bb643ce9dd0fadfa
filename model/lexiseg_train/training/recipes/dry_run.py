"""Measures what a run will take: a few batches of each phase, forward and backward, without updating weights."""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch

from lexiseg_train.training.processes import world_size
from lexiseg_train.training.recipe import Division, LocalPhase, Phase, RunRecipe, divide
from lexiseg_train.training.recipes.prerequisites import is_finished, plan_of
from lexiseg_train.training.recipes.training import Rehearsal, Training
from lexiseg_train.training.run import Run

ROUNDS = 3  # measured in each phase, of steps of one batch


class Measured(NamedTuple):
    """One phase: its division over processes, seconds of a step's passes, peak memory so far."""

    phase: Phase
    division: Division
    seconds: float
    peak_bytes: int
    note: str  # what is special about its steps


@contextmanager
def rehearsed(training: Training[Any], recipe: RunRecipe) -> Iterator[Rehearsal]:
    """A trainer over untrained weights where prerequisites are missing; its files are deleted after the block."""
    with tempfile.TemporaryDirectory(prefix="lexiseg-dry-run-") as folder:
        yield training.rehearsal(_with_prerequisites(training, recipe, Path(folder)), Path(folder))


def measure(rehearsal: Rehearsal, recipe: RunRecipe) -> Iterator[Measured]:
    """Run a few batches of each phase, at the batch that one process has."""
    trainer = rehearsal.trainer
    whole = trainer.recipe
    for phase in recipe.phases:
        division = divide(phase.global_batch, world_size(), recipe.micro_batch)
        # A trainer reads the current phase from its recipe.
        trainer.recipe = whole.model_copy(update={"phases": [phase.model_copy(update={"after": 0.0})]})
        seconds = _seconds(trainer, phase.crop, division)
        yield Measured(phase, division, seconds, _peak(trainer.device), trainer.in_words(phase))


def total_seconds(measured: list[Measured], steps: int) -> float:
    """Seconds of a run of so many steps, of which each phase has its share."""
    ends = [entry.phase.after for entry in measured[1:]] + [1.0]
    shares = [end - entry.phase.after for entry, end in zip(measured, ends, strict=True)]
    return steps * sum(share * entry.seconds for share, entry in zip(shares, measured, strict=True))


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
    """Seconds of a step of so many batches, from steps with one and with two of them.

    What they do not share comes once a step, such as the contrast of all its pairs.
    """
    each = two - one if two > one else two / 2  # noise hides what comes once
    return two + (batches - 2) * each


def _peak(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak  # Linux counts KiB
