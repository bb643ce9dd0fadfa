"""CVAT's interactors: points and boxes, by the protocol of Nuclio's dashboard, where a CVAT server finds its functions.

CVAT asks GET /api/functions for what there is and calls POST /api/function_invocations with the function's name in a
header (cvat/apps/lambda_manager/views.py, 2.11 to 2.80).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
import orjson
from fastapi import APIRouter, FastAPI
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from lexiseg_labels.masks import rle
from lexiseg_model.types import Segment
from lexiseg_service.adapters.reasons import PATH, ReasonRoute, refuse
from lexiseg_service.adapters.tools import ask, image_of_text, prompt_of, read_as
from lexiseg_service.errors import InvalidValue, UnknownModel
from lexiseg_service.gateway.adapter import Adapter
from lexiseg_service.gateway.rest.routes import use_case_of
from lexiseg_service.question.validation import off_event_loop

PREFIX = "lexiseg-"  # of a function's name, before the model's
NAME_HEADER = "x-nuclio-function-name"
HELP = "Click on the object, with negative points beside it, or draw a box around it"


def function_of(card: Mapping[str, Any]) -> dict[str, Any]:
    """A model as a function of Nuclio; values are strings, as annotations of Kubernetes are."""
    annotations = {
        "name": f"lexiseg {card['name']}",
        "type": "interactor",
        "version": "2",  # of CVAT's interactors: answers are masks
        "spec": "[]",
        "min_pos_points": "0",
        "min_neg_points": "0",
        "startswith_box_optional": "true",
        "help_message": HELP,
        "animated_gif": "",
    }
    return {
        "metadata": {"name": f"{PREFIX}{card['name']}", "namespace": "nuclio", "annotations": annotations},
        "spec": {"description": card["summary"]},
        "status": {"state": "ready"},
    }


Point = tuple[float, float]


class Invocation(BaseModel):
    """The call of an interactor: the image in base64, points and the corners of a box in pixels."""

    image: str
    pos_points: list[Point] = Field([], fail_fast=True)
    neg_points: list[Point] = Field([], fail_fast=True)
    obj_bbox: Annotated[list[Point], Field(max_length=2)] | None = None

    def fields(self) -> dict[str, Any]:
        """Fields of the question. Raises InvalidValue: there is neither a point nor a box."""
        box = self.obj_bbox or []
        if not (self.pos_points or self.neg_points or box):
            raise InvalidValue.of("pos_points", self.pos_points, "a point, or `obj_bbox`")
        if len(box) == 1:
            raise InvalidValue.of("obj_bbox", box, "two corners")
        points = [(x, y, True) for x, y in self.pos_points] + [(x, y, False) for x, y in self.neg_points]
        return prompt_of(points, [[side for corner in box for side in corner]] if box else [])


def mask_json(segment: Segment | None, size: tuple[int, int]) -> bytes:
    """{"mask": rows of 0 and 1} of the whole image."""
    pixels = np.zeros(size, np.uint8)
    if segment is not None:
        pixels = rle.decode(segment.mask.counts, segment.mask.size).astype(np.uint8)
    return orjson.dumps({"mask": np.ascontiguousarray(pixels)}, option=orjson.OPT_SERIALIZE_NUMPY)


router = APIRouter(prefix="/api", route_class=ReasonRoute)
router.get(PATH)(refuse)


@router.get("/functions")
async def functions(request: Request) -> dict[str, Any]:
    """Every model that takes points and boxes, by its function's name."""
    found = [function_of(card) for card in use_case_of(request).models() if "prompt" in card["tasks"]]
    return {function["metadata"]["name"]: function for function in found}


@router.get("/functions/{name}")
async def function(request: Request, name: str) -> dict[str, Any]:
    """One function."""
    return function_of(use_case_of(request).model(_model_of(name)))


@router.post("/function_invocations")
async def invoke(request: Request) -> Response:
    """The best mask for the points and the box."""
    model = _model_of(request.headers.get(NAME_HEADER, ""))
    body = await read_as(Invocation, request)
    answer = await ask(request, {"model": model, **body.fields()}, await image_of_text(body.image, "image"))
    best = next(iter(answer.segments), None)
    height, width = answer.size
    content = await off_event_loop(height * width, lambda: mask_json(best, answer.size))
    return Response(content, media_type="application/json")


def _model_of(function: str) -> str:
    """The model of a function. Raises UnknownModel: no function of ours has this name."""
    if not function.startswith(PREFIX):
        raise UnknownModel(f"no function {function!r}; functions are called {PREFIX}MODEL")
    return function.removeprefix(PREFIX)


def adapter(app: FastAPI) -> Adapter:
    """The routes."""
    return Adapter([router], use="the host and port of CVAT_NUCLIO_HOST and CVAT_NUCLIO_PORT of a CVAT server")
