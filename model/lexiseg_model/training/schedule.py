"""Warm-up, plateau, decay: the plateau can be gone on from at any time, only the last stretch decays."""

from __future__ import annotations

LEAST = 0.01  # of the peak, at the end


def learning_rate(step: int, peak: float, warmup: int, steps: int, decay: int) -> float:
    """Of one step, counted from 0, of a run of `steps` whose last `decay` go down in a straight line."""
    warm = min(1.0, (step + 1) / max(1, warmup))
    left = min(1.0, max(0, steps - step) / max(1, decay))
    return peak * warm * (LEAST + (1 - LEAST) * left)
