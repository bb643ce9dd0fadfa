"""Short training runs: what their recipes share, and the first batch of a run."""

from __future__ import annotations

from typing import Any, TypeVar

from lexiseg_model.training.recipe import LocalPhase
from lexiseg_model.training.run import Run

Batch = TypeVar("Batch")

SHORT: dict[str, Any] = {
    "steps": 2,
    "warmup_steps": 0,
    "weight_decay": 0.05,
    "average_decay": 0.0,
    "checkpoint_minutes": 5,
    "workers": 0,
    "device": "cpu",
}


def first_batch(run: Run[Any, Any, Batch]) -> Batch:
    """Of the first phase, whole: one process, one forward pass."""
    phase = run.recipe.phases[0]
    return next(iter(run._batches(LocalPhase(phase.crop, phase.global_batch))))
