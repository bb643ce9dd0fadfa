"""Named class lists."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lexiseg_client.answers.checked import number, optional, text
from lexiseg_client.question.options import Background, Class


@dataclass(frozen=True)
class VocabularySummary:
    """A named class list, without its classes."""

    name: str
    n_classes: int
    background: bool | Background  # what holds when a question says nothing of it
    built_in: bool  # built-in lists cannot be changed
    source: str | None


@dataclass(frozen=True)
class Vocabulary(VocabularySummary):
    """A named class list. `etag` names this content: give it as `if_match` to change nothing but it."""

    classes: tuple[Class, ...] = ()
    etag: str = ""


def read_class(entry: Mapping[str, Any]) -> Class:
    """A class of the server's JSON."""
    synonyms = tuple(text(word) for word in entry.get("synonyms", ()))
    return Class(text(entry["name"]), synonyms, optional(entry.get("threshold"), number))


def read_background(rule: bool | Mapping[str, Any]) -> bool | Background:
    """A background rule of the server's JSON."""
    if isinstance(rule, bool):
        return rule
    words = rule.get("words")
    threshold = optional(rule.get("threshold"), number)
    return Background(threshold, None if words is None else tuple(text(word) for word in words))
