"""Examples of classes: parts of images that show what no word says, or what a class is not."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lexiseg_client.answers.rle import encode
from lexiseg_client.pictures.images import ImageId, ImageLike, ImageUrl, load
from lexiseg_client.question.prompts import Point, Prompt, prompts_json


@dataclass(frozen=True)
class Example:
    """A part of an image: a box (left, top, right, bottom), points on it and beside it, or else a mask [H, W] of bool.

    `image` is a path, a URL, pixels, or what else `Client.segment` takes; None is the image that is asked about.
    """

    box: Sequence[float] | NDArray[Any] | None = None
    points: Sequence[Point] = ()
    mask: NDArray[Any] | None = None
    image: ImageLike | None = None


def example_json(example: object, field: str) -> dict[str, Any]:
    """An example as JSON, its image in it.

    Raises:
        TypeError: no Example, or something else than points, numbers and an array in it.
        ValueError: it shows nothing, or shows it twice.
        UnusableImage: its image cannot be read.
    """
    if not isinstance(example, Example):
        raise TypeError(f"{field}: expected an Example, got {example!r:.60}")
    if example.mask is not None:
        if example.box is not None or example.points:
            raise ValueError(f"{field}: expected a mask alone, got one beside a box or points")
        mask = np.asarray(example.mask)
        if mask.ndim != 2:
            raise ValueError(f"{field}.mask: expected [H, W], got {list(mask.shape)}")
        size = [int(side) for side in mask.shape]
        shown: dict[str, Any] = {"mask": {"format": "coco_rle", "size": size, "counts": encode(mask.astype(bool))}}
    else:
        (shown,) = prompts_json([Prompt(example.points, example.box)])
    return shown if example.image is None else {**shown, "image": _image_json(example.image)}


def has_files(question: Any) -> bool:
    """Whether a question holds files in its examples: then it is too large for a field of a form."""
    classes = [entry for entry in question.get("classes", ()) if isinstance(entry, dict)]
    shown = [each for entry in classes for name in ("examples", "negatives") for each in entry.get(name, ())]
    return any("base64" in each.get("image", {}) for each in shown)


def _image_json(image: ImageLike) -> dict[str, str]:
    source = load(image)
    if isinstance(source, ImageId):
        return {"id": source.id}
    if isinstance(source, ImageUrl):
        return {"url": source.url}
    return {"base64": base64.b64encode(source.content).decode()}
