"""A class list under a name, and the JSON document that it is kept as."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Any

import orjson

from lexiseg_model.types import Background, ClassEntry, Vocabulary
from lexiseg_service.errors import InvalidValue
from lexiseg_service.question.classes import check, check_line
from lexiseg_service.settings import Limits
from lexiseg_service.vocabularies.schemas import VocabularyInput

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
LONGEST_SOURCE = 1000  # characters


@dataclass(frozen=True)
class NamedVocabulary:
    """A vocabulary with its origin; `etag` changes with the content and with nothing else."""

    name: str
    vocabulary: Vocabulary
    source: str | None
    built_in: bool
    etag: str

    @property
    def background(self) -> bool | dict[str, Any]:
        """What holds for pixels that no class explains, as JSON values."""
        return _background(self.vocabulary.background)

    @property
    def document(self) -> dict[str, Any]:
        """Classes, background and source as JSON values: what a PUT would send."""
        return document(self.vocabulary, self.source)


def named(name: str, class_list: VocabularyInput, limits: Limits, *, built_in: bool = False) -> NamedVocabulary:
    """Checks a class list by the rules of a request's own.

    Raises:
        InvalidValue: a class, the background rule or the source breaks a rule.
    """
    vocabulary = check(class_list.classes, class_list.background, limits, name=name)
    source = None if class_list.source is None else check_line(class_list.source, "source", LONGEST_SOURCE)
    return NamedVocabulary(name, vocabulary, source, built_in, etag(encode(document(vocabulary, source))))


def check_name(name: str) -> str:
    """The name, if a user's vocabulary may have it.

    Raises:
        InvalidValue: it may not.
    """
    if not NAME.fullmatch(name):
        raise InvalidValue.of("name", name, "1 to 64 of a-z, 0-9 and -, not beginning with -")
    return name


def document(vocabulary: Vocabulary, source: str | None) -> dict[str, Any]:
    """A vocabulary as JSON values, in the form of `VocabularyInput`."""
    return {
        "classes": [_class(entry) for entry in vocabulary.classes],
        "background": _background(vocabulary.background),
        "source": source,
    }


def encode(content: dict[str, Any]) -> bytes:
    """The same content gives the same bytes."""
    return orjson.dumps(content, option=orjson.OPT_SORT_KEYS)


def etag(content: bytes) -> str:
    """A strong entity tag, with its quotes."""
    return f'"{hashlib.sha256(content).hexdigest()[:32]}"'


def _class(entry: ClassEntry) -> dict[str, Any]:
    return {"name": entry.name, "synonyms": list(entry.synonyms), "threshold": entry.threshold}


def _background(rule: Background | None) -> bool | dict[str, Any]:
    if rule is None:
        return False
    if rule == Background():
        return True
    return {"threshold": rule.threshold, "words": None if rule.words is None else list(rule.words)}
