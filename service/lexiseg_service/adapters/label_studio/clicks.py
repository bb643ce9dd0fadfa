"""Smart tools: what an annotator has drawn so far, as one prompt."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from lexiseg_service.adapters.asking import prompt_of


class Value(BaseModel):
    """A point, or a box with its left upper corner; percent of the image. Its labels stand under its type."""

    model_config = {"extra": "allow"}

    x: float
    y: float
    width: float = 0
    height: float = 0


class Drawn(BaseModel):
    """One point or box."""

    type: str
    value: Value
    original_width: int
    original_height: int
    is_positive: bool = True


class Context(BaseModel):
    """All of them, for one region."""

    result: list[Drawn] = Field([], fail_fast=True)


def asked_by(context: Context) -> dict[str, Any]:
    """What is asked about it, as fields of a question."""
    points, boxes = [], []
    for drawn in context.result:
        value, width, height = drawn.value, drawn.original_width / 100, drawn.original_height / 100
        if drawn.type.startswith("keypoint"):
            points.append((value.x * width, value.y * height, drawn.is_positive))
        elif drawn.type.startswith("rectangle"):
            right, bottom = value.x + value.width, value.y + value.height
            boxes.append((value.x * width, value.y * height, right * width, bottom * height))
    return prompt_of(points, boxes)


def label_of(context: Context) -> str | None:
    """The label that was chosen for the region."""
    for drawn in context.result:
        extra = drawn.value.model_extra or {}
        labels = extra.get(drawn.type) or extra.get("labels")
        if isinstance(labels, list) and labels and isinstance(labels[0], str):
            return labels[0]
    return None
