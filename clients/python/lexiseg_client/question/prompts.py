"""Objects that are shown rather than named: points and boxes, in pixels of the image as it was given."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, TypeAlias

from numpy.typing import NDArray


@dataclass(frozen=True)
class Point:
    """A click: on the object when `positive`, on what is not the object otherwise."""

    x: float  # pixels from the left edge
    y: float  # pixels from the upper edge
    positive: bool = True


@dataclass(frozen=True)
class Prompt:
    """One object: points on it and beside it, a box (left, top, right, bottom) around it, or both."""

    points: Sequence[Point] = ()
    box: Sequence[float] | NDArray[Any] | None = None


Prompts: TypeAlias = Sequence[Prompt | Point]  # a point alone is a prompt of its own


def prompts_json(prompts: Prompts) -> list[dict[str, Any]]:
    """Prompts as JSON, in their order.

    Raises:
        TypeError: not a list, or something else than prompts, points and numbers in it.
        ValueError: none, a coordinate that is no finite number, a prompt that shows nothing or only what is not its
            object, or a box without an inside.
    """
    if isinstance(prompts, (Prompt, Point)):
        raise TypeError(f"prompts is a list; did you mean [{prompts}]?")
    if not isinstance(prompts, Sequence):
        raise TypeError(f"prompts: expected a list of Prompt and Point objects, got {prompts!r:.60}")
    if not prompts:
        raise ValueError("prompts: expected at least one Prompt or Point, got none")
    return [_prompt_json(prompt, f"prompts.{index}") for index, prompt in enumerate(prompts)]


def _prompt_json(prompt: object, field: str) -> dict[str, Any]:
    if isinstance(prompt, Point):
        point_fields = _point_json(prompt, field)
        _check_positive([prompt], field)
        return {"points": [point_fields]}
    if not isinstance(prompt, Prompt):
        raise TypeError(f"{field}: expected a Prompt or a Point, got {prompt!r:.60}")
    fields: dict[str, Any] = {}
    if isinstance(prompt.points, Point) or not isinstance(prompt.points, Sequence):
        raise TypeError(f"{field}.points: expected a list of Point objects, got {prompt.points!r:.60}")
    if prompt.points:
        fields["points"] = [_point_json(point, f"{field}.points.{index}") for index, point in enumerate(prompt.points)]
    if prompt.box is not None:
        fields["box"] = _box_json(prompt.box, f"{field}.box")
    elif not prompt.points:
        raise ValueError(f"{field}: expected points, a box, or both, got neither")
    else:
        _check_positive(prompt.points, f"{field}.points")
    return fields


def _check_positive(points: Sequence[Point], field: str) -> None:
    if not any(point.positive for point in points):
        raise ValueError(f"{field}: expected a positive point where there is no box, got {len(points)} negative")


def _point_json(point: object, field: str) -> dict[str, Any]:
    if not isinstance(point, Point):
        raise TypeError(f"{field}: expected a Point, got {point!r:.60}")
    if not isinstance(point.positive, bool):
        raise TypeError(f"{field}.positive: expected True or False, got {point.positive!r:.60}")
    x, y = _number(point.x, f"{field}.x"), _number(point.y, f"{field}.y")
    return {"x": x, "y": y, "positive": point.positive}


def _box_json(box: Any, field: str) -> list[float]:
    try:
        left, top, right, bottom = box
    except (TypeError, ValueError):
        raise TypeError(f"{field}: expected four numbers (left, top, right, bottom), got {box!r:.60}") from None
    sides = [_number(side, f"{field}.{index}") for index, side in enumerate((left, top, right, bottom))]
    if sides[2] <= sides[0] or sides[3] <= sides[1]:
        raise ValueError(f"{field}: expected left, top, right, bottom with left < right and top < bottom, got {sides}")
    return sides


def _number(value: Any, field: str) -> float:
    if not isinstance(value, Real) or isinstance(value, bool):
        raise TypeError(f"{field}: expected a number of pixels, got {value!r:.60}")
    try:
        pixels = float(value)
    except OverflowError:
        raise ValueError(f"{field}: expected a finite number of pixels, got one that is too large") from None
    if not math.isfinite(pixels):
        raise ValueError(f"{field}: expected a finite number of pixels, got {pixels}")
    return pixels
