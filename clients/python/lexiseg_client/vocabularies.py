"""`client.vocabularies`: named class lists on a server."""

from __future__ import annotations

import base64
import builtins
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypedDict

import httpx

from lexiseg_client.address import PREFIX, path_of
from lexiseg_client.calling.steps import Resource, Send, awaited
from lexiseg_client.question import (
    Background,
    Class,
    Classes,
    Example,
    Point,
    Unpack,
    background_json,
    classes_json,
    plain,
)
from lexiseg_client.rest import json_as, of_json, read
from lexiseg_labels.masks.rle import decode

ROUTE = f"{PREFIX}/vocabularies"


@dataclass(frozen=True)
class VocabularySummary:
    """A named class list, without its classes."""

    name: str
    n_classes: int
    background: bool | Background  # default for requests that set no background
    built_in: bool  # built-in lists cannot be changed
    source: str | None
    shared: bool = True  # usable by every API key; False: by yours only
    own: bool = True  # your API key may replace and delete it


@dataclass(frozen=True)
class Vocabulary(VocabularySummary):
    """A named class list. `etag` identifies this version: pass it as `if_match` to update only this version."""

    classes: tuple[Class, ...] = ()
    etag: str = ""


class VocabularyOptions(TypedDict, total=False):
    """Options of writing a vocabulary."""

    background: bool | Background  # default for requests that set no background; default True
    source: str | None  # where the list comes from, for its readers
    shared: bool | None  # with API keys: for every key or this one only; None: unchanged, new ones for this key only
    if_match: str | None  # an `etag`: replace only that version
    create_only: bool  # never replace


NAMES = frozenset(VocabularyOptions.__annotations__)


def vocabulary_json(classes: Classes, options: VocabularyOptions) -> dict[str, Any]:
    if unknown := options.keys() - NAMES:
        raise TypeError(f"unknown option: {', '.join(sorted(unknown))}; expected one of {', '.join(sorted(NAMES))}")
    document = {
        "classes": plain(classes_json(classes), "classes"),
        "background": background_json(options.get("background", True)),
        "source": options.get("source"),
    }
    shared = options.get("shared")
    return document if shared is None else {**document, "shared": shared}


def class_of(entry: Mapping[str, Any]) -> Class:
    synonyms = tuple(entry.get("synonyms", ()))
    examples, negatives = (
        tuple(_example_of(item) for item in entry.get(key) or ()) for key in ("examples", "negatives")
    )
    return of_json(Class, entry, synonyms=synonyms, examples=examples, negatives=negatives)


def _example_of(entry: Mapping[str, Any]) -> Example:
    """An example from its JSON; its image is a file's bytes."""
    points = [Point(click["x"], click["y"], bool(click["positive"])) for click in entry.get("points", ())]
    mask = entry.get("mask")
    pixels = None if mask is None else decode(mask["counts"], (int(mask["size"][0]), int(mask["size"][1])))
    image = entry.get("image") or {}
    content = base64.b64decode(image["base64"]) if "base64" in image else None
    return Example(entry.get("box"), points, pixels, content)


def background_of(rule: bool | Mapping[str, Any]) -> bool | Background:
    if isinstance(rule, bool):
        return rule
    words = rule.get("words")
    threshold = rule.get("threshold")
    return Background(threshold, None if words is None else tuple(words))


def summary_of(entry: Mapping[str, Any]) -> VocabularySummary:
    unset = {"source": None, "own": not entry["built_in"]}
    return of_json(VocabularySummary, {**unset, **entry}, background=background_of(entry["background"]))


def vocabulary_of(document: Mapping[str, Any], etag: str) -> Vocabulary:
    """A vocabulary with its classes from its JSON; errors as for `summary_of`."""
    classes = tuple(class_of(entry) for entry in document["classes"])
    return Vocabulary(**vars(summary_of(document)), classes=classes, etag=etag)


class Vocabularies(Resource):
    """Named class lists on a server: `client.vocabularies`."""

    def list(self, *, timeout: float | None = None) -> builtins.list[VocabularySummary]:
        """List built-in and user vocabularies, without their classes."""
        parse = json_as(lambda page: [summary_of(entry) for entry in page["vocabularies"]])
        return self._ask(Send("GET", ROUTE), parse, timeout)

    def get(self, name: str, *, timeout: float | None = None) -> Vocabulary:
        """Get a vocabulary with its classes. Raises UnknownVocabulary: no such vocabulary."""
        return self._ask(Send("GET", path_of(ROUTE, name)), _with_tag, timeout)

    def put(
        self, name: str, classes: Classes, *, timeout: float | None = None, **options: Unpack[VocabularyOptions]
    ) -> Vocabulary:
        """Create or replace a vocabulary; options as in `VocabularyOptions`.

        Raises:
            TypeError: an unknown option; nothing was sent.
            PreconditionFailed: `if_match` or `create_only` does not hold.
            ReadOnly: the vocabulary is built in.
            NotAllowed: another key shares a vocabulary of this name.
            InvalidValue: the server refuses the list.
        """
        conditions = _conditions(options.get("if_match"))
        if options.get("create_only"):
            conditions["If-None-Match"] = "*"
        body = {"json": vocabulary_json(classes, options)}
        # Conditional writes are not idempotent: a retry after success fails its own condition.
        return self._ask(
            Send("PUT", path_of(ROUTE, name), conditions, body, repeatable=not conditions), _with_tag, timeout
        )

    def delete(self, name: str, *, if_match: str | None = None, timeout: float | None = None) -> None:
        """Delete a vocabulary.

        Raises:
            PreconditionFailed: `if_match` does not hold.
            ReadOnly: the vocabulary is built in.
            UnknownVocabulary: no such vocabulary.
        """
        request = Send("DELETE", path_of(ROUTE, name), _conditions(if_match), repeatable=False)
        return self._ask(request, lambda _: None, timeout)


class AsyncVocabularies(Resource):
    """As `Vocabularies`, to await."""

    list = awaited(Vocabularies.list)
    get = awaited(Vocabularies.get)
    put = awaited(Vocabularies.put)
    delete = awaited(Vocabularies.delete)


def _conditions(if_match: str | None) -> dict[str, str]:
    return {} if if_match is None else {"If-Match": if_match}


def _with_tag(reply: httpx.Response) -> Vocabulary:
    etag = reply.headers.get("etag", "")
    return read(reply.content, lambda document: vocabulary_of(document, etag))
