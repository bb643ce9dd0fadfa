"""One picture of a project: the question about it, and its prediction."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from starlette.requests import Request

from lexiseg_service.adapters.answering import SIMPLIFY
from lexiseg_service.adapters.asking import ask
from lexiseg_service.adapters.label_studio.clicks import Context, asked_by, label_of
from lexiseg_service.adapters.label_studio.config import Control
from lexiseg_service.adapters.label_studio.images import image_of
from lexiseg_service.adapters.label_studio.regions import prediction_of
from lexiseg_service.errors import InvalidValue


class Task(BaseModel):
    """One picture of a project."""

    data: dict[str, Any]


async def predicted(
    request: Request, control: Control, task: Task, context: Context | None, index: int
) -> dict[str, Any]:
    """The prediction for the task at a place: its labels' masks, or the mask of what was clicked.

    Raises:
        ServiceError: of any kind.
        ClientDisconnect: Label Studio hung up.
    """
    field = f"tasks.{index}.data.{control.image_field}"
    value = task.data.get(control.image_field)
    if not isinstance(value, str):
        raise InvalidValue.of(field, value, "the image's URL")
    image, url = await image_of(request, value, field)
    asked = {**control.options, "mask": "rle"}
    if control.kind == "polygonlabels":
        asked |= {"mask": "polygon", "simplify": SIMPLIFY}
    if context is not None and context.result:
        asked |= asked_by(context)
        answer = await ask(request, asked, image, url)
        return await prediction_of(request, answer, control, label_of(context))
    answer = await ask(request, {**asked, "classes": control.classes}, image, url)
    return await prediction_of(request, answer, control)
