"""Values of a JSON document as the types that they must have; what is none raises a TypeError or a ValueError."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")
HIGHEST_ID = 2**16 - 1  # a label map has 16 bits at most
LONGEST_SIDE = 2**16 - 1  # no image format of the service's knows a longer one


def text(found: Any) -> str:
    """A string."""
    if not isinstance(found, str):
        raise TypeError(f"{found!r:.40} is no text")
    return found


def whole(found: Any) -> int:
    """A whole number."""
    if not isinstance(found, int) or isinstance(found, bool):
        raise TypeError(f"{found!r:.40} is no whole number")
    return found


def number(found: Any) -> float:
    """Any number."""
    if not isinstance(found, (int, float)) or isinstance(found, bool):
        raise TypeError(f"{found!r:.40} is no number")
    return float(found)


def truth(found: Any) -> bool:
    """true or false."""
    if not isinstance(found, bool):
        raise TypeError(f"{found!r:.40} is neither true nor false")
    return found


def optional(found: Any, kind: Callable[[Any], T]) -> T | None:
    """null, or a value of a kind."""
    return None if found is None else kind(found)


def segment_id(found: Any) -> int:
    """1 to what a label map can hold."""
    if not 1 <= whole(found) <= HIGHEST_ID:
        raise ValueError(f"{found} is no id of a segment")
    return whole(found)


def size(found: Any) -> tuple[int, int]:
    """Height and width of an image."""
    height, width = (whole(side) for side in found)
    if not (1 <= height <= LONGEST_SIDE and 1 <= width <= LONGEST_SIDE):
        raise ValueError(f"{height} x {width} is no size of an image")
    return height, width
