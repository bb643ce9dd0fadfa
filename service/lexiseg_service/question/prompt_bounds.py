"""Prompts against the size of their image: checked by whoever learns the size first, gateway or worker."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from lexiseg_model.types import Prompt
from lexiseg_service.errors import MOST_FINDINGS, InvalidValue


def check_inside(prompts: Sequence[Prompt], size: tuple[int, int]) -> None:
    """Every point and every box must lie inside an image of `size` (height, width), its edges included.

    Raises:
        InvalidValue: some do not; names each of them (the first `MOST_FINDINGS`), its coordinate and the limit.
    """
    # A request may hold thousands of points.
    if outside := list(islice(_outside(prompts, size), MOST_FINDINGS)):
        raise InvalidValue.together(outside)


def _outside(prompts: Sequence[Prompt], size: tuple[int, int]) -> Iterator[InvalidValue]:
    for index, prompt in enumerate(prompts):
        yield from outside(prompt, size, f"prompts.{index}")


def outside(prompt: Prompt, size: tuple[int, int], field: str) -> Iterator[InvalidValue]:
    """What of one prompt lies outside an image of `size` (height, width); `field` is its place in the request."""
    height, width = size
    for number, point in enumerate(prompt.points):
        if not 0 <= point.x <= width:
            yield _finding(f"{field}.points.{number}.x", point.x, f"0 to {width}, the image's width")
        if not 0 <= point.y <= height:
            yield _finding(f"{field}.points.{number}.y", point.y, f"0 to {height}, the image's height")
    if prompt.box is not None:
        x0, y0, x1, y1 = prompt.box
        if min(x0, x1) < 0 or max(x0, x1) > width or min(y0, y1) < 0 or max(y0, y1) > height:
            limit = f"x in 0 to {width} and y in 0 to {height}, the image's size"
            yield _finding(f"{field}.box", list(prompt.box), limit)


def _finding(field: str, value: float | list[float], limit: str) -> InvalidValue:
    return InvalidValue.of(field, value, f"pixels inside the image: {limit}")
