"""Prompts (points, boxes, masks) and class examples, in pixels of the input image, and their JSON."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lexiseg_client.images import ImageId, ImageLike, ImageUrl, Source, load
from lexiseg_labels.masks.rle import encode
from lexiseg_labels.segments import Segment


@dataclass(frozen=True)
class Point:
    """A click: on the object if `positive`, else on the background."""

    x: float  # pixels from the left
    y: float  # pixels from the top
    positive: bool = True


@dataclass(frozen=True)
class Prompt:
    """One object by points, by a box (left, top, right, bottom), or both.

    With a `mask` (bool [H, W], a `Segment` of an answer, or its `rle`) or a `segment` (id in the semantic answer to
    the same classes), points and box correct it: positive points and the box add to it, negative points remove from it.
    """

    points: Sequence[Point | tuple[float, float]] = ()
    box: Sequence[float] | NDArray[Any] | None = None
    mask: NDArray[Any] | Segment | Mapping[str, Any] | None = None
    segment: int | None = None


# A single point is a prompt of its own; a tuple (x, y) is a positive point.
Prompts: TypeAlias = Sequence[Prompt | Point | tuple[float, float]]


def prompts_json(prompts: Prompts) -> list[dict[str, Any]]:
    """Prompts as JSON, in order; the server checks ranges.

    Raises:
        TypeError: not a list of prompts and points.
        ValueError: a mask that is not [H, W].
        NoMasks: a segment that came without its mask.
    """
    if isinstance(prompts, (Prompt, Point)):
        raise TypeError(f"prompts is a list; did you mean [{prompts}]?")
    if not isinstance(prompts, Sequence):
        raise TypeError(f"prompts: expected a list of Prompt and Point objects, got {prompts!r:.60}")
    return [
        _prompt_json(Prompt([prompt]) if isinstance(prompt, Point | tuple) else prompt, f"prompts.{index}")
        for index, prompt in enumerate(prompts)
    ]


def _prompt_json(prompt: Prompt, field: str) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    try:
        if prompt.points:
            fields["points"] = list(map(_point_json, prompt.points))
        if prompt.box is not None:
            left, top, right, bottom = map(float, prompt.box)
            fields["box"] = [left, top, right, bottom]
        if prompt.mask is not None:
            fields["mask"] = _mask_json(prompt.mask, field)
        if prompt.segment is not None:
            fields["segment"] = int(prompt.segment)
    except (AttributeError, TypeError) as error:
        raise TypeError(f"{field}: expected a Prompt or a Point, got {prompt!r:.60}: {error}") from None
    return fields


def _point_json(point: Point | tuple[float, float]) -> dict[str, Any]:
    if isinstance(point, tuple):
        if len(point) != 2:
            raise TypeError(f"a tuple is a point (x, y), got {len(point)} values")
        point = Point(*point)
    return {"x": float(point.x), "y": float(point.y), "positive": bool(point.positive)}


def _mask_json(mask: NDArray[Any] | Segment | Mapping[str, Any], field: str) -> dict[str, Any]:
    if isinstance(mask, Mapping):
        return dict(mask)
    if isinstance(mask, Segment):
        mask = mask.shape.pixels() if mask.rle is None else mask.rle
        return _mask_json(mask, field)
    mask = np.asarray(mask)
    if mask.ndim != 2:
        raise ValueError(f"{field}.mask: expected [H, W], got {list(mask.shape)}")
    size = [int(side) for side in mask.shape]
    return {"format": "coco_rle", "size": size, "counts": encode(mask.astype(bool))}


@dataclass(frozen=True)
class Example:
    """A class example in an image, by a box (left, top, right, bottom) and points, or by a mask.

    `mask`: bool [H, W], a `Segment`, or its `rle`.
    `image`: as for `Client.segment`; None: the image of the request.
    """

    box: Sequence[float] | NDArray[Any] | None = None
    points: Sequence[Point | tuple[float, float]] = ()
    mask: NDArray[Any] | Segment | Mapping[str, Any] | None = None
    image: ImageLike | None = None


def example_json(example: object, field: str) -> dict[str, Any]:
    """An example as JSON, including its image.

    Raises:
        TypeError: not an Example, or a part of it has the wrong type.
        ValueError: neither box, points nor mask, or a mask with the others.
        UnusableImage: its image cannot be read.
    """
    if not isinstance(example, Example):
        raise TypeError(f"{field}: expected an Example, got {example!r:.60}")
    if example.mask is not None:
        if example.box is not None or example.points:
            raise ValueError(f"{field}: expected a mask alone, got one beside a box or points")
        region: dict[str, Any] = {"mask": _mask_json(example.mask, field)}
    else:
        region = _prompt_json(Prompt(example.points, example.box), field)
    return region if example.image is None else {**region, "image": source_json(load(example.image))}


def has_files(question: Any) -> bool:
    """Whether a request's examples contain image files, which make it too large for a form field."""
    classes = [entry for entry in question.get("classes", ()) if isinstance(entry, dict)]
    examples = [example for entry in classes for name in ("examples", "negatives") for example in entry.get(name, ())]
    return any("base64" in example.get("image", {}) for example in examples)


def source_json(source: Source) -> dict[str, str]:
    """The JSON of an image."""
    if isinstance(source, ImageId):
        return {"id": source.id}
    if isinstance(source, ImageUrl):
        return {"url": source.url}
    return {"base64": base64.b64encode(source.content).decode()}
