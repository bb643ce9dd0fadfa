"""Examples as the command line writes them: `--example NAME=photo.jpg@10,20,200,180`, `--not NAME=...` beside them."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from lexiseg_service.commands.segment.prompts import read_prompts
from lexiseg_service.commands.segment.sources import Unreadable, read_bounded
from lexiseg_service.errors import TooLarge
from lexiseg_service.settings import Limits

EXPECTED = "NAME=FILE@LEFT,TOP,RIGHT,BOTTOM or NAME=FILE@X,Y, as mascot=photo.jpg@10,20,200,180"


def with_examples(
    classes: Sequence[str], examples: Sequence[str], negatives: Sequence[str]
) -> tuple[str | dict[str, Any], ...]:
    """The classes of a command in the form of POST /segment: words, then those that are shown alone.

    Args:
        classes: of `-c`; one that also has examples is looked for as a word, too.
        examples: of `--example`; several of one name are one class.
        negatives: of `--not`; each of a class with examples.

    Raises:
        typer.BadParameter: something else came, a file that cannot be read, or a negative of a class without examples.
    """
    shown: dict[str, dict[str, Any]] = {}
    for text in examples:
        name, example = _read(text, "--example")
        shown.setdefault(name, {"name": name, "examples": [], "words": name in classes})["examples"].append(example)
    for text in negatives:
        name, example = _read(text, "--not")
        if name not in shown:
            raise typer.BadParameter(f"{name!r} has no --example beside it", param_hint="'--not'")
        shown[name].setdefault("negatives", []).append(example)
    words = [shown.pop(name, name) for name in classes]
    return (*words, *shown.values())


def _read(text: str, option: str) -> tuple[str, dict[str, Any]]:
    name, equals, rest = text.partition("=")
    file, at, place = rest.rpartition("@")
    if not (equals and at and name.strip() and file):
        raise typer.BadParameter(f"expected {EXPECTED}; got {text!r:.80}", param_hint=f"'{option}'")
    commas = place.count(",")
    (prompt,) = read_prompts([place] if commas == 1 else [], [] if commas == 1 else [place], [])
    try:
        content = read_bounded(Path(file), Limits())
    except (Unreadable, TooLarge) as error:
        raise typer.BadParameter(f"{file} cannot be read: {error}", param_hint=f"'{option}'") from None
    return name.strip(), {**prompt, "image": {"base64": base64.b64encode(content).decode()}}
