"""Members of a JSON document as the types that they must have; anything else raises TypeError or ValueError."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")
MAX_ID = 2**16 - 1  # a label map has 16 bits at most
MAX_SIDE = 2**16 - 1  # pixels, the limit of the image formats that the service takes


def text(value: Any) -> str:
    """A string."""
    if not isinstance(value, str):
        raise TypeError(f"expected a string, got {value!r:.40}")
    return value


def whole(value: Any) -> int:
    """A whole number."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"expected a whole number, got {value!r:.40}")
    return value


def number(value: Any) -> float:
    """Any number."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise TypeError(f"expected a number, got {value!r:.40}")
    return float(value)


def truth(value: Any) -> bool:
    """true or false."""
    if not isinstance(value, bool):
        raise TypeError(f"expected true or false, got {value!r:.40}")
    return value


def optional(value: Any, kind: Callable[[Any], T]) -> T | None:
    """null, or a value of a kind."""
    return None if value is None else kind(value)


def segment_id(value: Any) -> int:
    """A segment's id, 1 to what a label map can hold."""
    if not 1 <= whole(value) <= MAX_ID:
        raise ValueError(f"expected a segment id from 1 to {MAX_ID}, got {value}")
    return whole(value)


def size(value: Any) -> tuple[int, int]:
    """Height and width of an image."""
    height, width = (whole(side) for side in value)
    if not (1 <= height <= MAX_SIDE and 1 <= width <= MAX_SIDE):
        raise ValueError(f"expected sides from 1 to {MAX_SIDE} pixels, got {height} x {width}")
    return height, width
