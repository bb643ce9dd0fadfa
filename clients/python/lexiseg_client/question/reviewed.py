"""Reviewed pictures, what a head has learned from them, and their JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lexiseg_client.images import ImageLike, load
from lexiseg_client.models import of_json
from lexiseg_client.question.options import Class, Classes, classes_json
from lexiseg_client.question.prompts import Example, example_json, source_json
from lexiseg_labels.answers import AnswerWarning


@dataclass(frozen=True)
class Labelled(Example):
    """A labelled region of a reviewed picture, by a box and points, or by a mask.

    `label`: one of the head's classes; None: unknown, its pixels teach nothing.
    """

    label: str | None = None


@dataclass(frozen=True)
class Picture:
    """A reviewed picture: every object of the reviewed classes is among `objects`, later ones above earlier ones.

    `key`: its name in the head; None: the id of its image. `reviewed`: the classes that were looked for; None: all.
    """

    image: ImageLike
    objects: Sequence[Labelled] = ()
    key: str | None = None
    reviewed: Sequence[str] | None = None


@dataclass(frozen=True)
class TaughtClass:
    """A class of a head. IoUs are percent on its reviewed pictures, None where too few show it.

    `iou_taught` is that of heads that did not see the picture; `wants`: how many more pictures it should have; `kept`:
    "words" if it is found by only these, as pictures that were left out are not found better.
    """

    name: str
    synonyms: tuple[str, ...]
    pictures: int
    iou_words: float | None
    iou_taught: float | None
    wants: int
    kept: str | None = None


@dataclass(frozen=True)
class Head:
    """Classes taught by reviewed pictures; `NAME@version` in a request takes only this version."""

    name: str
    version: str
    model: str  # NAME@VERSION
    pictures: int
    classes: tuple[TaughtClass, ...]
    keys: tuple[str, ...] = ()  # of its pictures; empty in a list of heads
    warnings: tuple[AnswerWarning, ...] = ()
    expires: str | None = None  # RFC 3339: removed then, unless it is changed; None: it stays
    image_passes: int = 1  # that a picture takes with it


def picture_json(picture: object, field: str) -> dict[str, Any]:
    """A reviewed picture as JSON, with its image.

    Raises:
        TypeError: not a Picture, or a part of it has the wrong type.
        ValueError: a region has neither box, points nor mask, or a mask with the others.
        UnusableImage, OSError: its image cannot be read.
    """
    if not isinstance(picture, Picture):
        raise TypeError(f"{field}: expected a Picture, got {picture!r:.60}")
    objects = []
    for number, each in enumerate(picture.objects):
        where = f"{field}.objects.{number}"
        if not isinstance(each, Labelled) or each.image is not None:
            raise TypeError(f"{where}: expected a Labelled region of the picture itself, got {each!r:.60}")
        objects.append({"class": each.label, **example_json(each, where)})
    named = {"key": picture.key, "reviewed": None if picture.reviewed is None else list(picture.reviewed)}
    return {
        "image": source_json(load(picture.image)),
        "objects": objects,
        **{name: value for name, value in named.items() if value is not None},
    }


def taught_json(classes: Classes) -> list[Any]:
    """Classes of a head as JSON. Raises ValueError: one has more than a name and synonyms."""
    for entry in classes:
        if isinstance(entry, Class) and Class(entry.name, entry.synonyms) != entry:
            raise ValueError(f"{entry.name!r}: a class of a head has a name and synonyms, nothing else")
    return classes_json(classes)


def head_of(document: Mapping[str, Any]) -> Head:
    """A head from its JSON."""
    return of_json(
        Head,
        document,
        classes=tuple(of_json(TaughtClass, each, synonyms=tuple(each["synonyms"])) for each in document["classes"]),
        keys=tuple(document.get("keys", ())),
        warnings=tuple(of_json(AnswerWarning, {"field": None, **each}) for each in document.get("warnings", ())),
    )
