"""A prompt of the SDK, words and boxes, as a class of a question."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, Field

from lexiseg_service.errors import InvalidValue

SIDES = (("examples", 1), ("negatives", 0))  # of a class, and the labels of boxes
Threshold = Annotated[float, Field(ge=0, le=1)]


class SizedBox(BaseModel):
    """Pixels of the image: a corner and what the box measures."""

    x: float
    y: float
    width: float
    height: float

    def corners(self) -> list[float]:
        return [self.x, self.y, self.x + self.width, self.y + self.height]


class CornerBox(BaseModel):
    """Pixels of the image: two corners."""

    x0: float
    y0: float
    x1: float
    y1: float

    def corners(self) -> list[float]:
        return [self.x0, self.y0, self.x1, self.y1]


class Prompt(BaseModel):
    """A word, boxes that show what is meant (label 1) and what is not (0), or both."""

    type: str = "text"
    text: str | None = None
    boxes: list[SizedBox | CornerBox] = Field([], fail_fast=True)
    # All 1 where there are none.
    box_labels: list[Annotated[int, Field(ge=0, le=1)]] | None = Field(None, fail_fast=True)
    output_prob_thresh: Threshold | None = None


def class_of(prompt: Prompt, index: int, threshold: float) -> dict[str, Any]:
    """A prompt as a class: its boxes are examples in the image that is asked about, a text is looked for, too.

    Raises:
        InvalidValue: it says nothing, or not which of its boxes show what is meant.
    """
    labels = [1] * len(prompt.boxes) if prompt.box_labels is None else prompt.box_labels
    if len(labels) != len(prompt.boxes):
        raise InvalidValue.of(
            f"prompts.{index}.box_labels", str(len(labels)), f"one for each of {len(prompt.boxes)} boxes"
        )
    if prompt.text is None and 1 not in labels:
        raise InvalidValue.of(
            f"prompts.{index}", f"type {prompt.type}", "a text, or boxes of which one has the label 1"
        )
    own = prompt.output_prob_thresh
    made: dict[str, Any] = {
        "name": f"prompt {index}" if prompt.text is None else prompt.text,
        "threshold": threshold if own is None else own,
    }
    if prompt.boxes:
        shown = [{"box": box.corners()} for box in prompt.boxes]
        sides = {name: [one for one, label in zip(shown, labels, strict=True) if label == side] for name, side in SIDES}
        made |= {**sides, "words": prompt.text is not None}
    return made
