"""The /streams routes: objects followed from frame to frame, where each frame is a request."""

from __future__ import annotations

from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import Response

from lexiseg_client.stubs import segmentation_pb2 as pb
from lexiseg_service.errors import (
    DeadlineExceeded,
    InvalidValue,
    MalformedRequest,
    NotReady,
    QueueFull,
    RateLimited,
    TooLarge,
    TooSlow,
    UndecodableImage,
    UnknownModel,
    UnknownStream,
    UnsupportedImage,
)
from lexiseg_service.gateway.rest import body, examples
from lexiseg_service.gateway.rest.asking import caller_of
from lexiseg_service.gateway.rest.examples import shown
from lexiseg_service.gateway.rest.openapi import problems
from lexiseg_service.gateway.rest.rendering import content_of_answer
from lexiseg_service.gateway.stream_config import config_of, prompt_of
from lexiseg_service.gateway.streams import OpenStreams
from lexiseg_service.question.examples import content_of
from lexiseg_service.question.stream_schemas import FrameInput, FrameOutput, StreamInput, StreamOutput
from lexiseg_service.settings import Settings
from lexiseg_service.wire.answer import decode_answer, decode_track_ids

router = APIRouter(tags=["streams"])
Identity = Annotated[str, Path(description="as `POST /streams` answered", examples=["3q2-7wAAAAAAAAAAAAAAAA"])]
_BUSY = (QueueFull, RateLimited, NotReady, DeadlineExceeded)


def _body(name: str, example: dict[str, Any]) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{name}"}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema, "example": example}}}}


@router.post(
    "/streams",
    status_code=201,
    summary="Begin to follow objects through a video",
    responses={
        201: {"model": StreamOutput, **shown(examples.STREAM)},
        **problems(MalformedRequest, UnknownModel, TooSlow, TooLarge, InvalidValue, *_BUSY),
    },
    openapi_extra=_body("StreamInput", {"classes": ["cow", "dog"], "model": "tiny"}),
)
async def open_stream(request: Request) -> Response:
    """A stream, to which frames are sent one after the other; its objects have labels where it names classes.

    It lives in the gateway that answers: behind a balancer its frames have to come to the same one.
    """
    settings: Settings = request.app.state.settings
    asked = await body.read_json(request, StreamInput, settings.limits)
    identity = await _streams(request).open(config_of(asked), caller_of(request))
    return _json({"stream": identity, "idle_seconds": settings.stream_idle_seconds}, 201)


@router.post(
    "/streams/{stream}/frames",
    summary="The next frame of a stream",
    responses={
        200: {"model": FrameOutput, **shown(examples.FRAME)},
        **problems(
            MalformedRequest,
            UnknownModel,
            UnknownStream,
            TooSlow,
            TooLarge,
            UnsupportedImage,
            UndecodableImage,
            InvalidValue,
            *_BUSY,
        ),
    },
    openapi_extra=_body("FrameInput", examples.FRAME_ASKED),
)
async def next_frame(request: Request, stream: Identity) -> Response:
    """Where the objects are that are followed, in the frame that is sent.

    `follow` begins objects here, `unfollow` ends some before. A frame that is refused begins and ends nothing, and the
    stream goes on, but for errors of the stream itself (429, 503, 504): then it is no more, and the next frame hears
    404.
    """
    settings: Settings = request.app.state.settings
    asked = await body.read_json(request, FrameInput, settings.limits)
    frame = pb.Frame(
        image=content_of(asked.image.base64, "image.base64"),
        follow=[pb.Follow(track_id=each.track_id, prompt=prompt_of(each.prompt)) for each in asked.follow],
        unfollow=asked.unfollow,
    )
    answer = await _streams(request).ask(stream, frame, caller_of(request))
    decoded, numbers = decode_answer(answer.answer), decode_track_ids(answer.answer)
    content = content_of_answer(decoded, request.state.request_id, numbers)
    return _json({**content, "lost": list(answer.lost), "state_reset": answer.state_reset})


@router.put(
    "/streams/{stream}",
    status_code=204,
    summary="Ask a stream another question",
    responses=problems(MalformedRequest, UnknownModel, UnknownStream, TooSlow, TooLarge, InvalidValue, *_BUSY),
    response_class=Response,
    openapi_extra=_body("StreamInput", {"classes": ["cow", "dog", "horse"], "model": "tiny"}),
)
async def change_stream(request: Request, stream: Identity) -> Response:
    """Holds from the next frame on, whole: what is left out is as in a new stream.

    Objects stay under their numbers, with labels by the new words; another `model` or `max_side` forgets them, and the
    next answer says `state_reset`. A question that is refused leaves the stream as it was.
    """
    settings: Settings = request.app.state.settings
    asked = await body.read_json(request, StreamInput, settings.limits)
    await _streams(request).change(stream, config_of(asked), caller_of(request))
    return Response(status_code=204)


@router.delete(
    "/streams/{stream}",
    status_code=204,
    summary="End a stream",
    responses=problems(UnknownStream),
    response_class=Response,
)
async def end_stream(request: Request, stream: Identity) -> Response:
    """Its objects are forgotten, and its place is free."""
    await _streams(request).end(stream, caller_of(request))
    return Response(status_code=204)


def _streams(request: Request) -> OpenStreams:
    streams: OpenStreams = request.app.state.streams
    return streams


def _json(content: dict[str, Any], status: int = 200) -> Response:
    return Response(orjson.dumps(content), status, media_type="application/json")
