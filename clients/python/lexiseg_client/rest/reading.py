"""JSON of the server's to typed objects. Members that this version does not know are left alone."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np

from lexiseg_client.answers import checked
from lexiseg_client.answers.checked import number, optional, segment_id, text, truth, whole
from lexiseg_client.answers.masks import MapFile, NotAsked, Outlines, PartOfMap, RunLengths, Shape
from lexiseg_client.answers.models import Health, Model
from lexiseg_client.answers.polygons import Ring
from lexiseg_client.answers.segmentation import AnswerWarning, CacheUse, Segment, Segmentation, Timings
from lexiseg_client.errors import UnreadableAnswer
from lexiseg_client.question.vocabulary import Vocabulary, VocabularySummary, read_background, read_class

T = TypeVar("T")


def read(content: bytes, build: Callable[[dict[str, Any]], T]) -> T:
    """What `build` makes of a JSON object.

    Raises:
        UnreadableAnswer: it is none, or lacks what it must have.
    """
    try:
        document = json.loads(content)
        if not isinstance(document, dict):
            raise TypeError(f"a JSON object is expected, this is a {type(document).__name__}")
        return build(document)
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        raise UnreadableAnswer(f"what answered is no lexiseg, or another version: {error!r:.200}") from None


def segmentation(document: dict[str, Any]) -> Segmentation:
    """The answer of POST /segment."""
    size = checked.size(document["size"])
    mapped = document.get("label_map")
    shared = None if mapped is None else MapFile(size, base64.b64decode(mapped["base64"], validate=True))
    return Segmentation(
        id=text(document["id"]),
        image_id=text(document["image_id"]),
        model=text(document["model"]),
        model_digest=text(document["model_digest"]),
        task=text(document["task"]),
        size=size,
        segments=tuple(_segment(entry, size, shared) for entry in document["segments"]),
        timings_ms=Timings(**_known(Timings, document["timings_ms"], number)),
        cache=_cache(document["cache"]),
        overlay=_bytes(document.get("overlay")),
        map_file=shared,
        confidence_png=_bytes(document.get("confidence")),
        absent=tuple(text(label) for label in document.get("absent", ())),
        warnings=tuple(_warning(entry) for entry in document.get("warnings", ())),
    )


def _warning(entry: Mapping[str, Any]) -> AnswerWarning:
    return AnswerWarning(text(entry["type"]), text(entry["detail"]), optional(entry.get("field"), text))


def _segment(entry: Mapping[str, Any], size: tuple[int, int], shared: MapFile | None) -> Segment:
    x, y, width, height = (whole(side) for side in entry["bbox"])
    return Segment(
        id=segment_id(entry["id"]),
        label=optional(entry["label"], text),
        class_index=optional(entry["class_index"], whole),
        score=number(entry["score"]),
        area=whole(entry["area"]),
        bbox=(x, y, width, height),
        shape=_shape(entry, size, shared),
        prompt_index=optional(entry.get("prompt_index"), whole),
        mask_index=optional(entry.get("mask_index"), whole),
        quality=optional(entry.get("quality"), number),
        is_thing=optional(entry.get("is_thing"), truth),
        track_id=optional(entry.get("track_id"), whole),
    )


def _shape(entry: Mapping[str, Any], size: tuple[int, int], shared: MapFile | None) -> Shape:
    mask = entry["mask"]
    if mask is None:
        return NotAsked() if shared is None else PartOfMap(shared, segment_id(entry["id"]))
    if mask["format"] == "coco_rle":
        if checked.size(mask["size"]) != size:
            raise ValueError(f"a mask of {mask['size']} for an image of {list(size)}")
        return RunLengths(size, text(mask["counts"]))
    if mask["format"] == "polygon":
        return Outlines(size, tuple(_ring(ring) for ring in mask["rings"]))
    raise ValueError(f"masks come as coco_rle or polygon, this one as {mask['format']!r}")


def _ring(entry: Mapping[str, Any]) -> Ring:
    exterior, *holes = (
        np.array(corners, np.int64).reshape(-1, 2) for corners in (entry["exterior"], *entry.get("holes", []))
    )
    return Ring(exterior, tuple(holes))


def _bytes(encoded: str | None) -> bytes | None:
    return None if encoded is None else base64.b64decode(encoded, validate=True)


def _known(kind: type, values: Mapping[str, Any], of: Callable[[Any], T]) -> dict[str, T]:
    """The members that a dataclass knows."""
    return {name: of(value) for name, value in values.items() if name in kind.__annotations__}


def _cache(counts: Mapping[str, Any]) -> CacheUse:
    return CacheUse(whole(counts["text_hits"]), whole(counts["text_misses"]), truth(counts["features"]))


def model(card: dict[str, Any]) -> Model:
    """One model's card."""
    return Model(
        name=text(card["name"]),
        version=text(card["version"]),
        summary=text(card.get("summary", "")),
        tasks=tuple(text(task) for task in card["tasks"]),
        licence=text(card.get("licence", "")),
        digest=optional(card.get("digest"), text),
        loaded=truth(card["loaded"]),
        card=card,
    )


def models(document: dict[str, Any]) -> list[Model]:
    """The answer of GET /models."""
    return [model(entry) for entry in document["models"]]


def vocabulary_summary(entry: dict[str, Any]) -> VocabularySummary:
    """A vocabulary without its classes."""
    return VocabularySummary(
        name=text(entry["name"]),
        n_classes=whole(entry["n_classes"]),
        background=read_background(entry["background"]),
        built_in=truth(entry["built_in"]),
        source=optional(entry.get("source"), text),
        shared=truth(entry.get("shared", True)),
        own=truth(entry.get("own", not entry["built_in"])),
    )


def vocabulary_summaries(document: dict[str, Any]) -> list[VocabularySummary]:
    """The answer of GET /vocabularies."""
    return [vocabulary_summary(entry) for entry in document["vocabularies"]]


def vocabulary(document: dict[str, Any], etag: str) -> Vocabulary:
    """A vocabulary with its classes."""
    summary = vocabulary_summary(document)
    return Vocabulary(
        name=summary.name,
        n_classes=summary.n_classes,
        background=summary.background,
        built_in=summary.built_in,
        source=summary.source,
        shared=summary.shared,
        own=summary.own,
        classes=tuple(read_class(entry) for entry in document["classes"]),
        etag=etag,
    )


def health(alive: dict[str, Any], ready: dict[str, Any]) -> Health:
    """The bodies of /livez and /readyz."""
    return Health(
        alive=alive["status"] == "alive",
        ready=ready["status"] == "ready",
        detail=str(ready["detail"]),
        degraded=tuple(ready.get("degraded", ())),
    )
