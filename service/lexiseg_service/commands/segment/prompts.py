"""Prompts as the command line writes them: `--point 120,80`, `--box 10,20,200,180`, `--prompt "120,80 -40,60"`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import typer

NUMBER = r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)"
POINT = re.compile(rf"(-?){NUMBER},{NUMBER}")
BOX = re.compile(",".join([NUMBER] * 4))
A_POINT = "X,Y in pixels, as 120,80"
A_BOX = "LEFT,TOP,RIGHT,BOTTOM in pixels, as 10,20,200,180"
AN_INSIDE = "LEFT,TOP,RIGHT,BOTTOM with LEFT < RIGHT and TOP < BOTTOM"


def read_prompts(points: Sequence[str], boxes: Sequence[str], prompts: Sequence[str]) -> list[dict[str, Any]]:
    """The prompts of a command in the form of POST /segment: first the points, then the boxes, then the rest.

    Args:
        points: `X,Y`; each is a prompt of its own.
        boxes: `LEFT,TOP,RIGHT,BOTTOM`; each is a prompt of its own.
        prompts: each is one object by several parts with blanks between them: points, points beside the object
            (`-X,Y`), at most one box.

    Raises:
        typer.BadParameter: something else came, a box without an inside, or points beside an object alone; the message
            says what.
    """
    return [
        *({"points": [_point(text)]} for text in points),
        *({"box": _box(text, "--box", A_BOX)} for text in boxes),
        *(_prompt(text) for text in prompts),
    ]


def _point(text: str) -> dict[str, Any]:
    match = POINT.fullmatch(text.strip())
    if match is None:
        raise _wrong("--point", A_POINT, text)
    if match[1]:
        raise _wrong(
            "--point", f"{A_POINT}; a point beside the object goes with one on it: --prompt '60,90 {text}'", text
        )
    return {"x": float(match[2]), "y": float(match[3]), "positive": True}


def _box(text: str, option: str, expected: str) -> list[float]:
    match = BOX.fullmatch(text.strip())
    if match is None:
        raise _wrong(option, expected, text)
    left, top, right, bottom = map(float, match.groups())
    if right <= left or bottom <= top:
        raise _wrong(option, AN_INSIDE, text)
    return [left, top, right, bottom]


def _prompt(text: str) -> dict[str, Any]:
    expected = "points X,Y on the object, -X,Y beside it, at most one box LEFT,TOP,RIGHT,BOTTOM, with blanks between"
    prompt: dict[str, Any] = {}
    for part in text.split():
        if match := POINT.fullmatch(part):
            point = {"x": float(match[2]), "y": float(match[3]), "positive": not match[1]}
            prompt.setdefault("points", []).append(point)
        elif "box" in prompt:
            raise _wrong("--prompt", expected, text)
        else:
            prompt["box"] = _box(part, "--prompt", expected)
    if not prompt:
        raise _wrong("--prompt", expected, text)
    if "box" not in prompt and not any(point["positive"] for point in prompt["points"]):
        raise _wrong("--prompt", "at least one point X,Y on the object where there is no box", text)
    return prompt


def _wrong(option: str, expected: str, text: str) -> typer.BadParameter:
    return typer.BadParameter(f"expected {expected}; got {text!r:.80}", param_hint=f"'{option}'")
