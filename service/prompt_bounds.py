"""Prompts against the size of their image: checked by whoever learns the size first, gateway or worker."""

from __future__ import annotations

from collections.abc import Sequence

from model.types import Prompt
from service.errors import InvalidValue


def check_inside(prompts: Sequence[Prompt], size: tuple[int, int]) -> None:
    """Every point and every box must lie inside an image of `size` (height, width), its edges included.

    Raises:
        InvalidValue: one does not; names the prompt, the coordinate and the limit.
    """
    height, width = size
    for index, prompt in enumerate(prompts):
        for number, point in enumerate(prompt.points):
            if not 0 <= point.x <= width:
                raise _outside(f"prompts.{index}.points.{number}.x", point.x, f"0 to {width}, the image's width")
            if not 0 <= point.y <= height:
                raise _outside(f"prompts.{index}.points.{number}.y", point.y, f"0 to {height}, the image's height")
        if prompt.box is not None:
            x0, y0, x1, y1 = prompt.box
            if min(x0, x1) < 0 or max(x0, x1) > width or min(y0, y1) < 0 or max(y0, y1) > height:
                raise _outside(
                    f"prompts.{index}.box",
                    list(prompt.box),
                    f"x in 0 to {width} and y in 0 to {height}, the image's size",
                )


def _outside(field: str, value: float | list[float], limit: str) -> InvalidValue:
    return InvalidValue.of(field, value, f"pixels inside the image: {limit}")
