"""Which of a run's weights did best in validation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from lexiseg_model.errors import RecipeError


class Best(NamedTuple):
    """A step, and what its averaged weights reached."""

    step: int
    figure: float


def better(by: str, step: int, figures: Mapping[str, float], best: Best | None) -> Best | None:
    """The figures of a step, if they are better than the best so far; else None.

    Args:
        by: the name of one of them, the larger the better; with a minus before it, the smaller.
        step: that they are of.
        figures: of its validation.
        best: so far.

    Raises:
        RecipeError: the validation gives no such figure.
    """
    name = by.removeprefix("-")
    if name not in figures:
        raise RecipeError(f"best_by: validation gives no {name!r}; there is: {', '.join(figures) or 'nothing'}")
    sign = -1 if by.startswith("-") else 1
    if best is not None and not sign * figures[name] > sign * best.figure:
        return None
    return Best(step, figures[name])
