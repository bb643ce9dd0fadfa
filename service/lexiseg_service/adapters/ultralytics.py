"""Ultralytics' inference API, as its Platform and dedicated endpoints have it (docs.ultralytics.com/platform/deploy).

`POST /predict` and `POST /api/models/{model}/predict` take a form: `file` or `source`, `conf`, `normalize`, `decimals`.
`iou` and `imgsz` are ignored: segments never overlap, and each model has a size of its own. Words are fields `classes`
of the form, or query parameters: there a model has its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from typing import Any

from fastapi import APIRouter, FastAPI
from pydantic import BaseModel, Field
from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request
from starlette.responses import Response

from lexiseg_model.types import Segment
from lexiseg_service.adapters.tools import SIMPLIFY, ask, convert, image_of_text, largest_outline, options_of
from lexiseg_service.errors import InvalidValue
from lexiseg_service.gateway.adapter import Adapter
from lexiseg_service.gateway.rest.body import read_form
from lexiseg_service.gateway.rest.routes import as_json, settings_of
from lexiseg_service.question.classes import refuse_unsplit
from lexiseg_service.question.messages import ImageSource
from lexiseg_service.question.validation import validate

router = APIRouter()


class Parameters(BaseModel):
    """Fields of the form; `model` is a name of ours, of which a dedicated endpoint is asked without."""

    source: str | None = None
    model: str | None = None
    conf: float = Field(0.25, ge=0, le=1)
    normalize: bool = False
    decimals: int = Field(5, ge=0, le=10)
    classes: list[str] = []


@router.post("/predict")
@router.post("/api/models/{model}/predict")
async def predict(request: Request, model: str | None = None) -> Response:
    """Objects of the words, stuff as a whole; by `?task=semantic` each word's part of the pixels."""
    form = await read_form(request, settings_of(request).limits)
    try:
        parameters, image = await read(form)
    finally:
        await form.close()
    query = options_of(request.query_params)
    fields = {"task": "panoptic", "threshold": parameters.conf, "simplify": SIMPLIFY, **query, "mask": "polygon"}
    fields |= {"model": model or parameters.model or query.get("model")}
    fields |= {"classes": parameters.classes or query.get("classes")}
    answer = await ask(request, fields, image)
    write = share_of if answer.task == "semantic" else result_of
    results = await convert(answer, partial(write, size=answer.size, parameters=parameters))
    times = answer.timings_ms
    speed = {"preprocess": times.decode, "inference": times.image, "postprocess": times.post}
    about = {"imageCount": 1, "functionTimeCall": times.total / 1e3, "model": answer.model}
    metadata = {**about, "version": {"lexiseg": version("lexiseg")}}
    return as_json({"images": [{"shape": answer.size, "results": results, "speed": speed}], "metadata": metadata})


async def read(form: FormData) -> tuple[Parameters, ImageSource]:
    """Parameters and image of a form.

    Raises:
        InvalidValue: not one of `file` and `source`, or a parameter is out of range.
    """
    classes = [text for text in form.getlist("classes") if isinstance(text, str)]
    refuse_unsplit(classes, "repeat the field, as classes=sky and classes=tree")
    parameters = validate(Parameters, {**form, "classes": classes})
    file, source = form.get("file"), parameters.source
    if isinstance(file, UploadFile) and source is None:
        return parameters, ImageSource(await file.read())
    if source is None or file is not None:
        raise InvalidValue.of("file", "none" if source is None else "both", "a file, or `source` without one")
    return parameters, await image_of_text(source, "source")


def result_of(segment: Segment, size: Sequence[int], parameters: Parameters) -> dict[str, Any]:
    """A segment with its box and the outline of its largest part, in pixels or, normalized, in 0 to 1."""
    height, width = size if parameters.normalize else (1, 1)
    x, y, across, down = segment.bbox
    corners = largest_outline(segment)

    def scaled(value: float, by: float) -> float:
        return round(value / by, parameters.decimals)

    return {
        "name": segment.label,
        "class": segment.class_index,
        "confidence": round(segment.score, parameters.decimals),
        "box": {
            "x1": scaled(x, width), "y1": scaled(y, height),
            "x2": scaled(x + across, width), "y2": scaled(y + down, height),
        },
        "segments": {"x": [scaled(x, width) for x, _ in corners], "y": [scaled(y, height) for _, y in corners]},
    }  # fmt: skip


def share_of(segment: Segment, size: Sequence[int], parameters: Parameters) -> dict[str, Any]:
    """A class and its part of the image's pixels."""
    part = round(segment.area / (size[0] * size[1]), parameters.decimals)
    return {"name": segment.label, "class": segment.class_index, "pixel_ratio": part}


def adapter(app: FastAPI) -> Adapter:
    """The routes."""
    return Adapter([router], use="curl ADDRESS/predict -F file=@photo.jpg -F classes=dog -F conf=0.25")
