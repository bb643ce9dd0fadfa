"""Named class lists, and how they are read from JSON."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lexiseg_client.checked import number, optional, text, truth, whole
from lexiseg_client.masks.rle import decode
from lexiseg_client.question.options import Background, Class
from lexiseg_client.question.prompts import Example, Point


@dataclass(frozen=True)
class VocabularySummary:
    """A named class list, without its classes."""

    name: str
    n_classes: int
    background: bool | Background  # what holds when a question says nothing of it
    built_in: bool  # built-in lists cannot be changed
    source: str | None
    shared: bool = True  # every key may name it; else yours alone
    own: bool = True  # your key may replace and delete it


@dataclass(frozen=True)
class Vocabulary(VocabularySummary):
    """A named class list. `etag` names this content: give it as `if_match` to change nothing but it."""

    classes: tuple[Class, ...] = ()
    etag: str = ""


def class_of(entry: Mapping[str, Any]) -> Class:
    """A class of its JSON."""
    synonyms = tuple(text(word) for word in entry.get("synonyms", ()))
    shown = {name: tuple(_example_of(each) for each in entry.get(name) or ()) for name in ("examples", "negatives")}
    threshold = optional(entry.get("threshold"), number)
    return Class(text(entry["name"]), synonyms, threshold, shown["examples"], shown["negatives"], entry.get("words"))


def _example_of(entry: Mapping[str, Any]) -> Example:
    """An example as a vocabulary keeps it: its picture is a file's bytes."""
    points = [Point(number(at["x"]), number(at["y"]), bool(at["positive"])) for at in entry.get("points", ())]
    mask = entry.get("mask")
    pixels = None if mask is None else decode(text(mask["counts"]), (int(mask["size"][0]), int(mask["size"][1])))
    image = entry.get("image") or {}
    content = base64.b64decode(text(image["base64"])) if "base64" in image else None
    return Example(entry.get("box"), points, pixels, content)


def background_of(rule: bool | Mapping[str, Any]) -> bool | Background:
    """A background rule of its JSON."""
    if isinstance(rule, bool):
        return rule
    words = rule.get("words")
    threshold = optional(rule.get("threshold"), number)
    return Background(threshold, None if words is None else tuple(text(word) for word in words))


def summary_of(entry: Mapping[str, Any]) -> VocabularySummary:
    """A vocabulary without its classes, of its JSON.

    Raises:
        TypeError, ValueError, LookupError: the JSON is not one of a vocabulary.
    """
    return VocabularySummary(
        name=text(entry["name"]),
        n_classes=whole(entry["n_classes"]),
        background=background_of(entry["background"]),
        built_in=truth(entry["built_in"]),
        source=optional(entry.get("source"), text),
        shared=truth(entry.get("shared", True)),
        own=truth(entry.get("own", not entry["built_in"])),
    )


def vocabulary_of(document: Mapping[str, Any], etag: str) -> Vocabulary:
    """A vocabulary with its classes; errors as of `summary_of`."""
    classes = tuple(class_of(entry) for entry in document["classes"])
    return Vocabulary(**vars(summary_of(document)), classes=classes, etag=etag)
