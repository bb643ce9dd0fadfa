"""The question of a command line: its classes, prompts and examples as the fields of `POST /segment`."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from lexiseg_model.types import Task
from lexiseg_service.batch.sources.source import Unreadable
from lexiseg_service.commands.image_files import Source
from lexiseg_service.errors import InvalidValue, TooLarge
from lexiseg_service.question.classes import refuse_unsplit
from lexiseg_service.question.schemas import TaskQuestion as Question
from lexiseg_service.question.validation import validate
from lexiseg_service.settings import Limits

NUMBER = r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)"
POINT = re.compile(rf"(-?){NUMBER},{NUMBER}")
BOX = re.compile(",".join([NUMBER] * 4))
EXPECTED_POINT = "X,Y in pixels, as 120,80"
EXPECTED_BOX = "LEFT,TOP,RIGHT,BOTTOM in pixels, as 10,20,200,180"
EXPECTED_PROMPT = "points X,Y on the object, -X,Y beside it, at most one box LEFT,TOP,RIGHT,BOTTOM, separated by blanks"
EXPECTED_EXAMPLE = "NAME=FILE@LEFT,TOP,RIGHT,BOTTOM or NAME=FILE@X,Y, as mascot=photo.jpg@10,20,200,180"


def question_of(
    classes: Sequence[str | dict[str, Any]] | None,
    vocabulary: str | None,
    *,
    task: Task = "semantic",
    required: bool = True,
    others: str = "",
    **fields: Any,
) -> Question:
    """The question of a command line, without fields that are None; `others`: for the message where classes lack."""
    option = "'-c' / '--class'"
    try:
        words = [word for word in classes or () if isinstance(word, str)]
        refuse_unsplit(words, "repeat the option, as -c sky -c tree")
    except InvalidValue as error:
        raise typer.BadParameter(error.detail, param_hint=option) from None
    if (classes and vocabulary) or (required and not (classes or vocabulary)):
        raise typer.BadParameter(f"give either classes or --vocabulary NAME{others}", param_hint=option)
    values = {"classes": classes or None, "vocabulary": vocabulary, "task": task, **fields}
    return validate(Question, {name: value for name, value in values.items() if value is not None})


def read_prompts(points: Sequence[str], boxes: Sequence[str], prompts: Sequence[str]) -> list[dict[str, Any]]:
    """The prompts of a command in the form of `POST /segment`: first the points, then the boxes, then the rest."""
    return [
        *({"points": [_point(text)]} for text in points),
        *({"box": _box(text, "--box", EXPECTED_BOX)} for text in boxes),
        *(_prompt(text) for text in prompts),
    ]


def _point(text: str) -> dict[str, Any]:
    match = POINT.fullmatch(text.strip())
    if match is None:
        raise _wrong("--point", EXPECTED_POINT, text)
    if match[1]:
        beside = f"{EXPECTED_POINT}; a point beside the object goes with one on it: --prompt '60,90 {text}'"
        raise _wrong("--point", beside, text)
    return {"x": float(match[2]), "y": float(match[3]), "positive": True}


def _box(text: str, option: str, expected: str) -> list[float]:
    match = BOX.fullmatch(text.strip())
    if match is None:
        raise _wrong(option, expected, text)
    left, top, right, bottom = map(float, match.groups())
    if right <= left or bottom <= top:
        raise _wrong(option, "LEFT,TOP,RIGHT,BOTTOM with LEFT < RIGHT and TOP < BOTTOM", text)
    return [left, top, right, bottom]


def _prompt(text: str) -> dict[str, Any]:
    prompt: dict[str, Any] = {}
    for part in text.split():
        if match := POINT.fullmatch(part):
            point = {"x": float(match[2]), "y": float(match[3]), "positive": not match[1]}
            prompt.setdefault("points", []).append(point)
        elif "box" in prompt:
            raise _wrong("--prompt", EXPECTED_PROMPT, text)
        else:
            prompt["box"] = _box(part, "--prompt", EXPECTED_PROMPT)
    if not prompt:
        raise _wrong("--prompt", EXPECTED_PROMPT, text)
    if "box" not in prompt and not any(point["positive"] for point in prompt["points"]):
        raise _wrong("--prompt", "at least one point X,Y on the object where there is no box", text)
    return prompt


def with_examples(
    classes: Sequence[str], examples: Sequence[str], negatives: Sequence[str], limits: Limits
) -> list[str | dict[str, Any]]:
    """The classes of a command in the form of `POST /segment`: words, then classes with only examples."""
    examples_of: dict[str, dict[str, Any]] = {}
    for text in examples:
        name, example = _example(text, "--example", limits)
        entry = examples_of.setdefault(name, {"name": name, "examples": [], "words": name in classes})
        entry["examples"].append(example)
    for text in negatives:
        name, example = _example(text, "--not", limits)
        if name not in examples_of:
            raise typer.BadParameter(f"{name!r} has no --example beside it", param_hint="'--not'")
        examples_of[name].setdefault("negatives", []).append(example)
    return [*(examples_of.pop(name, name) for name in classes), *examples_of.values()]


def _example(text: str, option: str, limits: Limits) -> tuple[str, dict[str, Any]]:
    name, equals, rest = text.partition("=")
    file, at, place = rest.rpartition("@")
    if not (equals and at and name.strip() and file):
        raise _wrong(option, EXPECTED_EXAMPLE, text)
    is_point = place.count(",") == 1
    (prompt,) = read_prompts([place] if is_point else [], [] if is_point else [place], [])
    try:
        content = Source(file, Path(file), limits).read()
    except (Unreadable, TooLarge) as error:
        raise typer.BadParameter(f"{file} cannot be read: {error}", param_hint=f"'{option}'") from None
    return name.strip(), {**prompt, "image": {"base64": base64.b64encode(content).decode()}}


def _wrong(option: str, expected: str, text: str) -> typer.BadParameter:
    return typer.BadParameter(f"expected {expected}; got {text!r:.80}", param_hint=f"'{option}'")
