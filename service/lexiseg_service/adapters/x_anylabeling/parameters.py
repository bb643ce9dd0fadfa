"""What is asked for of a picture: words, or what was marked in it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from lexiseg_service.adapters.asking import prompt_of
from lexiseg_service.errors import InvalidValue


class Mark(BaseModel):
    """A point [x, y] or a rectangle [x0, y0, x1, y1]; `label` 1 is on the object, 0 beside it."""

    type: Literal["point", "rectangle"]
    data: Annotated[list[float], Field(min_length=2, max_length=4)]
    label: int = 1


class Parameters(BaseModel):
    """Of a request; a model's other knobs mean nothing here."""

    text_prompt: Annotated[str, Field(max_length=2**17)] = ""  # thousands of words
    marks: list[Mark] = Field([], fail_fast=True)
    conf_threshold: float = 0.0


def asked_by(parameters: Parameters) -> dict[str, Any]:
    """What is asked, as fields of a question; marks go before words.

    Raises:
        InvalidValue: there are neither.
    """
    if marks := parameters.marks:
        points = [(mark.data[0], mark.data[1], mark.label == 1) for mark in marks if mark.type == "point"]
        return prompt_of(points, [mark.data for mark in marks if mark.type == "rectangle"])
    words = [word.strip() for word in parameters.text_prompt.replace(".", ",").split(",")]
    classes = [word for word in words if word]
    if not classes:
        raise InvalidValue.of("params.text_prompt", parameters.text_prompt, "words, or `marks`")
    return {"classes": classes, "threshold": parameters.conf_threshold}
