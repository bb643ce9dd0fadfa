"""The routes of segmentation and models: thin, each hands over to the use case."""

from __future__ import annotations

from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Path
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from lexiseg_service.errors import UnknownModel
from lexiseg_service.gateway.rest import body, examples
from lexiseg_service.gateway.rest.asking import answer_of, use_case_of
from lexiseg_service.gateway.rest.examples import shown
from lexiseg_service.gateway.rest.openapi import PICTURE, PROBLEMS, REQUEST_ID, SEGMENT_BODY, problems, query
from lexiseg_service.gateway.rest.paths import answer_head
from lexiseg_service.gateway.rest.picture import as_one_picture, picture_of, wants_picture
from lexiseg_service.gateway.rest.rendering import rendered
from lexiseg_service.question.asked import Asked
from lexiseg_service.question.schemas import ModelList, ModelOutput, SegmentAnswer
from lexiseg_service.settings import Settings

router = APIRouter()
ModelName = Annotated[str, Path(description="NAME or NAME@VERSION", examples=["tiny"])]


@router.post(
    "/segment",
    summary="Masks for an image and a class list, points or boxes",
    tags=["segmentation"],
    responses={
        200: {
            "model": SegmentAnswer,
            "content": {"application/json": {"examples": examples.ANSWERS}, "image/png": PICTURE},
        },
        **PROBLEMS,
    },
    openapi_extra={"parameters": [REQUEST_ID, *query()], "requestBody": SEGMENT_BODY},
    response_class=Response,
)
async def segment(request: Request) -> Response:
    """Sends back one mask per class that owns pixels, per object, or per thing that a prompt may mean.

    As COCO run lengths unless asked otherwise. With `Accept: image/png` the answer is the label map as a PNG, or with
    `overlay` the picture with its segments painted on; `X-Segments` names what its values mean.
    """
    settings: Settings = request.app.state.settings
    as_picture = wants_picture(request.headers.get("accept", ""))
    try:
        answer = await answer_of(request, _read(request, settings, as_picture))
    except ClientDisconnect:
        return Response(status_code=499)
    if as_picture:
        return picture_of(answer)
    return Response(await rendered(answer, request.state.request_id), media_type="application/json")


async def _read(request: Request, settings: Settings, as_picture: bool) -> Asked:
    asked = await body.read(request, settings.limits)
    return as_one_picture(asked) if as_picture else asked


@router.get(
    "/models",
    summary="Cards of the models served here",
    tags=["models"],
    responses={200: {"model": ModelList, **shown(examples.MODELS)}},
)
async def list_models(request: Request) -> Response:
    """Tasks, input size, licence, training data, measured quality, digest of the weights."""
    return _json({"models": use_case_of(request).models()})


@router.get(
    "/models/{name}",
    summary="One model's card",
    tags=["models"],
    responses={200: {"model": ModelOutput, **shown(examples.MODEL)}, **problems(UnknownModel)},
)
async def get_model(request: Request, name: ModelName) -> Response:
    """`name` may carry a version: `tiny@1`."""
    return _json(use_case_of(request).model(name))


def _json(content: dict[str, Any]) -> Response:
    return Response(orjson.dumps(content), media_type="application/json")


answer_head(router)
