"""What a run will take, measured: a few batches of each of its phases, forward and backward, nothing applied."""

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
from torch import nn

from lexiseg_model.training.recipe import Phase, RunRecipe
from lexiseg_model.training.recipes.below import is_finished, planned_below
from lexiseg_model.training.recipes.training import Rehearsal, Training
from lexiseg_model.training.run import Run
from lexiseg_model.training.stream import loader

BATCHES = 3  # measured of each phase, after one to warm up
FLOAT = 4  # bytes


class Size(NamedTuple):
    """Numbers of a network."""

    parameters: int
    trained: int

    @classmethod
    def of(cls, network: nn.Module) -> Size:
        sizes = [(parameter.numel(), parameter.requires_grad) for parameter in network.parameters()]
        return cls(sum(n for n, _ in sizes), sum(n for n, learns in sizes if learns))

    @property
    def state_bytes(self) -> int:
        """Of float32 weights and their average, and for what is trained gradients and two moments."""
        return FLOAT * (2 * self.parameters + 3 * self.trained)


class Measured(NamedTuple):
    """Seconds of one batch of a phase, drawn and learned from, and the highest use of memory until then."""

    phase: Phase
    seconds: float
    peak_bytes: int


@contextmanager
def rehearsed(training: Training[Any], recipe: RunRecipe) -> Iterator[Rehearsal]:
    """A trainer over untrained weights where what it stands on is not there; what it writes goes with the block."""
    with tempfile.TemporaryDirectory(prefix="lexiseg-dry-run-") as folder:
        standing = _standing(training, recipe, Path(folder))
        yield training.rehearsal(standing, Path(folder))


def measure(rehearsal: Rehearsal, recipe: RunRecipe) -> Iterator[Measured]:
    """A few batches of each phase."""
    trainer = rehearsal.trainer
    whole = trainer.recipe
    for phase in recipe.phases:
        # A trainer asks its recipe which phase it is in: here there is one.
        trainer.recipe = whole.model_copy(update={"phases": [phase.model_copy(update={"after": 0.0})]})
        yield Measured(phase, _seconds(trainer, phase), _peak(trainer.device) + rehearsal.more_bytes)


def _standing(training: Training[Any], recipe: RunRecipe, folder: Path) -> RunRecipe:
    """The recipe over untrained weights where what it stands on is not there; they take as long."""
    for below in training.below(recipe):
        if is_finished(below.file):
            continue
        first = planned_below(below, recipe)
        own = first.recipe.model_copy(update={"out": folder / below.key})
        trainer = first.training.trainer(_standing(first.training, own, folder))
        file = own.out / below.file.name
        file.parent.mkdir(exist_ok=True)
        trainer._write_weights(file)
        several = isinstance(getattr(recipe, below.key), list)
        recipe = recipe.model_copy(update={below.key: [file] if several else file})
    return recipe


def total_seconds(measured: list[Measured], steps: int, accumulation: int = 1) -> float:
    """Of a run of so many steps; each phase has its share of them."""
    ends = [entry.phase.after for entry in measured[1:]] + [1.0]
    shares = [end - entry.phase.after for entry, end in zip(measured, ends, strict=True)]
    return steps * accumulation * sum(share * entry.seconds for share, entry in zip(shares, measured, strict=True))


def _seconds(trainer: Run[Any, Any, Any], phase: Phase) -> float:
    batches = iter(loader(trainer._batches(phase), 0, trainer._numbers()))
    trainer._mode()
    began = 0.0
    for number in range(BATCHES + 1):
        if number == 1:
            began = time.perf_counter()
        loss = trainer._loss(next(batches))
        loss.backward()  # type: ignore[no-untyped-call]
        loss.item()  # waits for the device
        trainer.network.zero_grad()
    return (time.perf_counter() - began) / BATCHES


def _peak(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most  # of Linux in KiB
