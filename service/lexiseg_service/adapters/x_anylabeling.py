"""X-AnyLabeling's remote server: `server_url` is /adapters/x-anylabeling, the key is its `api_key`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from http import HTTPStatus
from itertools import chain
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, FastAPI
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lexiseg_model.types import Segment
from lexiseg_service.adapters.tools import (
    SIMPLIFY,
    ask,
    convert,
    doubled_area,
    image_of_text,
    notes_of,
    outline,
    prompt_of,
    read_as,
)
from lexiseg_service.errors import InvalidValue, NotReady, SwitchedOff
from lexiseg_service.gateway.adapter import Adapter
from lexiseg_service.gateway.rest.head_routes import teaching_of
from lexiseg_service.gateway.rest.routes import as_json, caller_of, use_case_of

# Widgets that the tool shows for a model, and their values: for words, and for clicks and boxes.
WORD_WIDGETS = {"edit_text": None, "button_send": None, "edit_conf": 0.0, "toggle_preserve_existing_annotations": False}
HINT = {"placeholder": "words, with commas or full stops between them"}
CLICK_WIDGETS = dict.fromkeys(
    f"button_{name}" for name in ("add_point", "remove_point", "add_rect", "clear", "finish_object")
) | {"output_label": None}
HEAD_WIDGETS = {"button_run": None, "edit_conf": 0.0, "toggle_preserve_existing_annotations": False}
HEAD = "head:"  # begins the name of a head in the tool's list of models
PREDICT_PATH = "/x-anylabeling/v1/predict"
MIN_PART = 0.02  # of a segment's largest part: smaller shapes would have to be deleted by hand


def model_of(card: Mapping[str, Any]) -> dict[str, Any]:
    widgets = {**WORD_WIDGETS, **(CLICK_WIDGETS if "prompt" in card["tasks"] else {})}
    return _entry(f"lexiseg {card['name']}", widgets, "text_prompt")


def _entry(name: str, widgets: Mapping[str, Any], batches: str) -> dict[str, Any]:
    listing = [{"name": key, "value": value, **(HINT if key == "edit_text" else {})} for key, value in widgets.items()]
    return {"display_name": name, "params": {}, "batch_processing_mode": batches, "widgets": listing}


async def heads_of(request: Request) -> dict[str, dict[str, Any]]:
    """The caller's heads as models of the tool, which ask for their classes."""
    try:
        names = await teaching_of(request).heads.names(caller_of(request).owner)
    except (SwitchedOff, NotReady):  # the models are there nevertheless
        names = []
    return {f"{HEAD}{name}": _entry(f"lexiseg, taught: {name}", HEAD_WIDGETS, "default") for name in names}


class Mark(BaseModel):
    """A point [x, y] or a rectangle [x0, y0, x1, y1]; `label` 1 is on the object, 0 off it."""

    type: Literal["point", "rectangle"]
    data: Annotated[list[float], Field(min_length=2, max_length=4)]
    label: Annotated[int, Field(ge=-1, lt=2**31)] = 1


class Parameters(BaseModel):
    """The parameters of a request; other models' are ignored."""

    text_prompt: Annotated[str, Field(max_length=2**17)] = ""  # thousands of words
    marks: list[Mark] = Field([], fail_fast=True)
    conf_threshold: float | None = None


def question_fields(parameters: Parameters) -> dict[str, Any]:
    if marks := parameters.marks:
        points = [(mark.data[0], mark.data[1], mark.label == 1) for mark in marks if mark.type == "point"]
        return prompt_of(points, [mark.data for mark in marks if mark.type == "rectangle"])
    words = [word.strip() for word in parameters.text_prompt.replace(".", ",").split(",")]
    classes = [word for word in words if word]
    if not classes:
        raise InvalidValue.of("params.text_prompt", parameters.text_prompt, "words, or `marks`")
    return {"classes": classes, "threshold": parameters.conf_threshold}


def shapes_of(segment: Segment, notes: Mapping[int | None, str]) -> list[dict[str, Any]]:
    """One polygon for each part of a segment, with the note on its class; several parts share a group id."""
    closed = [(corners := outline(ring)) + corners[:1] for ring in segment.rings]
    least = MIN_PART * max(map(doubled_area, closed), default=0)
    parts = [corners for corners in closed if doubled_area(corners) >= least]
    return [
        {
            "label": segment.label or "AUTOLABEL_OBJECT",
            "shape_type": "polygon",
            "points": corners,
            "score": segment.score,
            "group_id": segment.id if len(parts) > 1 else None,
            "description": notes.get(segment.class_index),
        }
        for corners in parts
    ]


router = APIRouter()


class Predict(BaseModel):
    """The body of a prediction request."""

    model: str
    image: str
    params: Parameters = Parameters()


@router.get("/health")
async def health(request: Request) -> dict[str, Any]:
    """Liveness, and the number of loaded models."""
    return {"status": "healthy", "models_loaded": sum(card["loaded"] for card in use_case_of(request).models())}


@router.get("/v1/models")
async def models(request: Request) -> dict[str, Any]:
    """Every model and head; the models with the task prompt have buttons for points and boxes."""
    cards = {card["name"]: model_of(card) for card in use_case_of(request).models()}
    return {"success": True, "data": cards | await heads_of(request)}


@router.get("/v1/models/{name}/info")
async def info(request: Request, name: str) -> dict[str, Any]:
    return {"success": True, "data": {"model_id": name, **model_of(use_case_of(request).model(name))}}


@router.post("/v1/predict")
async def predict(request: Request) -> Response:
    """Polygons for words, or for points and boxes; where there are none, why, in `description`."""
    body = await read_as(Predict, request)
    if body.model.startswith(HEAD):
        question = {"head": body.model.removeprefix(HEAD), "threshold": body.params.conf_threshold}
    else:
        question = {"model": body.model, **question_fields(body.params)}
    fields = {"mask": "polygon", "simplify": SIMPLIFY, **question}
    answer = await ask(request, fields, await image_of_text(body.image, "image"))
    shapes = list(chain.from_iterable(await convert(answer, partial(shapes_of, notes=notes_of(answer.warnings)))))
    if not shapes and answer.warnings:
        return as_json({"success": True, "data": no_shapes(" ".join(f"{each.detail}." for each in answer.warnings))})
    description = f"Not found: {', '.join(answer.absent)}." if answer.absent and not shapes else ""
    return as_json({"success": True, "data": {"shapes": shapes, "description": description}})


def no_shapes(reason: str) -> dict[str, Any]:
    """No shapes, and why; the image's own stay."""
    return {"shapes": [], "description": reason, "replace": False}


class Middleware:
    """ASGI middleware: every refusal of a prediction is a 200 with the reason in `description`.

    X-AnyLabeling 4.2 shows `description` as the image's. Any other status, also of a missing key or a full queue, it
    takes for an image without shapes: it deletes all that are there and goes on with the next image.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST" or not scope["path"].endswith(PREDICT_PATH):
            await self._app(scope, receive, send)
            return
        refused, problem = False, bytearray()

        async def send_shape(message: Message) -> None:
            nonlocal refused
            if message["type"] == "http.response.start":
                refused = message["status"] >= HTTPStatus.BAD_REQUEST
            if not refused:
                await send(message)
            elif message["type"] == "http.response.body":
                problem.extend(message.get("body", b""))
                if not message.get("more_body"):
                    document = orjson.loads(bytes(problem))
                    about = {"code": document["type"], "message": document["detail"]}
                    content = {"success": False, "error": about, "data": no_shapes(document["detail"])}
                    await as_json(content)(scope, receive, send)

        await self._app(scope, receive, send_shape)


def adapter(app: FastAPI) -> Adapter:
    use = "remote_server_settings: {server_url: ADDRESS, api_key: KEY} in .xanylabelingrc"
    return Adapter([router], Middleware, use=use)
