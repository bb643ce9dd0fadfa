"""Values of a JSON document as the types that they must have; what is none raises a TypeError or a ValueError."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")
HIGHEST_ID = 2**16 - 1  # a label map has 16 bits at most
LONGEST_SIDE = 2**16 - 1  # no image format of the service's knows a longer one


def text(value: Any) -> str:
    """A string."""
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.40} is no text")
    return value


def whole(value: Any) -> int:
    """A whole number."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{value!r:.40} is no whole number")
    return value


def number(value: Any) -> float:
    """Any number."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise TypeError(f"{value!r:.40} is no number")
    return float(value)


def truth(value: Any) -> bool:
    """true or false."""
    if not isinstance(value, bool):
        raise TypeError(f"{value!r:.40} is neither true nor false")
    return value


def optional(value: Any, kind: Callable[[Any], T]) -> T | None:
    """null, or a value of a kind."""
    return None if value is None else kind(value)


def segment_id(value: Any) -> int:
    """1 to what a label map can hold."""
    if not 1 <= whole(value) <= HIGHEST_ID:
        raise ValueError(f"{value} is no id of a segment")
    return whole(value)


def size(value: Any) -> tuple[int, int]:
    """Height and width of an image."""
    height, width = (whole(side) for side in value)
    if not (1 <= height <= LONGEST_SIDE and 1 <= width <= LONGEST_SIDE):
        raise ValueError(f"{height} x {width} is no size of an image")
    return height, width
