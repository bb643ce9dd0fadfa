"""Typed reading of JSON members: each function returns the value or raises TypeError or ValueError."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")
MAX_ID = 2**16 - 1  # a label map has 16 bits at most
MAX_SIDE = 2**16 - 1  # pixels, the limit of the image formats that the service takes


def string(value: Any) -> str:
    """A string."""
    if not isinstance(value, str):
        raise TypeError(f"expected a string, got {value!r:.40}")
    return value


def integer(value: Any) -> int:
    """An integer."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"expected a whole number, got {value!r:.40}")
    return value


def number(value: Any) -> float:
    """An integer or a float, as a float."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise TypeError(f"expected a number, got {value!r:.40}")
    return float(value)


def boolean(value: Any) -> bool:
    """true or false."""
    if not isinstance(value, bool):
        raise TypeError(f"expected true or false, got {value!r:.40}")
    return value


def optional(value: Any, read: Callable[[Any], T]) -> T | None:
    """None for null, else the value read by `read`."""
    return None if value is None else read(value)


def segment_id(value: Any) -> int:
    """A segment id, 1 to `MAX_ID`."""
    if not 1 <= integer(value) <= MAX_ID:
        raise ValueError(f"expected a segment id from 1 to {MAX_ID}, got {value}")
    return integer(value)


def size(value: Any) -> tuple[int, int]:
    """An image's height and width, each 1 to `MAX_SIDE`."""
    height, width = (integer(side) for side in value)
    if not (1 <= height <= MAX_SIDE and 1 <= width <= MAX_SIDE):
        raise ValueError(f"expected sides from 1 to {MAX_SIDE} pixels, got {height} x {width}")
    return height, width
