"""A phase of a recipe as a single process sees it."""

from __future__ import annotations

from lexiseg_model.training.recipe import LocalPhase, Phase


def local(phase: Phase) -> LocalPhase:
    """The whole batch in one forward pass."""
    return LocalPhase(phase.crop, phase.global_batch)
