"""Questions as messages of lexiseg.v1."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, TypeVar

from lexiseg_client.pictures.images import ImageId, ImageUrl, Source
from lexiseg_client.stubs import segmentation_pb2 as pb

ENUMS: Mapping[str, Mapping[str, int]] = {
    "task": {
        "semantic": pb.TASK_SEMANTIC,
        "instance": pb.TASK_INSTANCE,
        "panoptic": pb.TASK_PANOPTIC,
        "prompt": pb.TASK_PROMPT,
        "everything": pb.TASK_EVERYTHING,
    },
    "mask": {
        "rle": pb.MASK_FORMAT_RLE,
        "polygon": pb.MASK_FORMAT_POLYGON,
        "png": pb.MASK_FORMAT_PNG,
        "none": pb.MASK_FORMAT_NONE,
    },
    "refine": {"none": pb.REFINE_NONE, "pamr": pb.REFINE_PAMR, "regions": pb.REFINE_REGIONS},
    "drop_policy": {"none": pb.DROP_POLICY_NONE, "latest": pb.DROP_POLICY_LATEST},
}
M = TypeVar("M", pb.SegmentRequest, pb.StreamConfig)


def segment_request(source: Source, question: Mapping[str, Any]) -> pb.SegmentRequest:
    """A question about an image; `question` as made by `question_json`.

    Raises:
        ValueError: a word that has no number.
    """
    message = filled(pb.SegmentRequest(), question)
    if isinstance(source, ImageId):
        message.image.id = source.id
    elif isinstance(source, ImageUrl):
        message.image.url = source.url
    else:
        message.image.content = source.content
    return message


def filled(message: M, question: Mapping[str, Any]) -> M:
    """A message with the fields of a question, whose names are the same in JSON.

    Raises:
        ValueError: a word that has no number, or a value of the wrong type.
    """
    for name, value in question.items():
        try:
            if name == "classes":
                message.classes.extend(_class(entry) for entry in value)
            elif name == "background":
                message.background.CopyFrom(_background(value))
            elif name == "prompts" and isinstance(message, pb.SegmentRequest):  # streams take none
                message.prompts.extend(prompt_message(entry) for entry in value)
            elif name in ENUMS:
                setattr(message, name, ENUMS[name][value])
            else:
                setattr(message, name, value)
        except KeyError:
            raise ValueError(f"{name}: expected one of {', '.join(ENUMS[name])}, got {value!r}") from None
        except TypeError as error:
            raise ValueError(f"{name}: {error}") from None
    return message


def _class(entry: str | Mapping[str, Any]) -> pb.Class:
    if isinstance(entry, str):
        return pb.Class(name=entry)
    shown = {name: [_example(each) for each in entry.get(name, ())] for name in ("examples", "negatives")}
    return pb.Class(**{**entry, **shown})


def _example(entry: Mapping[str, Any]) -> pb.Example:
    shown = prompt_message(entry)
    message = pb.Example(points=shown.points, box=shown.box if shown.HasField("box") else None)
    if (mask := entry.get("mask")) is not None:
        height, width = mask["size"]
        message.mask.CopyFrom(pb.CocoRle(size=pb.Size(height=height, width=width), counts=mask["counts"]))
    for name, value in entry.get("image", {}).items():
        if name == "base64":
            message.image.content = base64.b64decode(value)
        else:
            setattr(message.image, name, value)
    return message


def prompt_message(entry: Mapping[str, Any]) -> pb.Prompt:
    """Points, a box, or both; `entry` as `prompts_json` makes it."""
    box = entry.get("box")
    return pb.Prompt(
        points=[pb.Point(**point) for point in entry.get("points", ())],
        box=None if box is None else pb.Box(**dict(zip(("x0", "y0", "x1", "y1"), box, strict=True))),
    )


def _background(rule: bool | Mapping[str, Any]) -> pb.Background:
    if isinstance(rule, bool):
        return pb.Background(enabled=rule)
    words = rule.get("words")
    return pb.Background(threshold=rule.get("threshold"), words=None if words is None else pb.Words(words=words))
