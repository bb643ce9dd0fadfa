"""The /streams routes: objects followed from frame to frame, where each frame is a request of its own."""

from __future__ import annotations

from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import Response

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
from lexiseg_service.gateway.rest import body
from lexiseg_service.gateway.rest.openapi import problems
from lexiseg_service.gateway.rest.rendering import content_of
from lexiseg_service.gateway.rest.routes import caller_of
from lexiseg_service.gateway.rest_streams import OpenStreams
from lexiseg_service.gateway.video import StreamConfig
from lexiseg_service.question.examples import decode_base64
from lexiseg_service.question.messages import VideoFrame
from lexiseg_service.question.prompts import resolve_follow
from lexiseg_service.question.schemas import FrameInput, FrameOutput, Question, StreamInput, StreamOutput
from lexiseg_service.settings import STREAM_IDLE_SECONDS, Settings

router = APIRouter(tags=["streams"])
Identity = Annotated[str, Path(description="as `POST /streams` answered", examples=["3q2-7wAAAAAAAAAAAAAAAA"])]
FRAME: dict[str, Any] = {
    "image": {"base64": "/9j/4AAQSkZJRgABAQ..."},
    "follow": [{"track_id": 1, "prompt": {"box": [2, 4, 30, 40]}}],
    "unfollow": [],
}
_BUSY = (QueueFull, RateLimited, NotReady, DeadlineExceeded)


def _body(name: str, example: dict[str, Any]) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{name}"}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema, "example": example}}}}


@router.post(
    "/streams",
    status_code=201,
    summary="Begin to follow objects through a video",
    responses={
        201: {"model": StreamOutput},
        **problems(MalformedRequest, UnknownModel, TooSlow, TooLarge, InvalidValue, *_BUSY),
    },
    openapi_extra=_body("StreamInput", {"classes": ["cow", "dog"], "model": "tiny"}),
)
async def open_stream(request: Request) -> Response:
    """A stream, to which frames are sent one after the other; its objects have labels where it names classes.

    It lives in the gateway that answers: behind a balancer its frames have to come to the same one.
    """
    identity = await _streams(request).open(await _config(request), caller_of(request))
    return _json({"stream": identity, "idle_seconds": STREAM_IDLE_SECONDS}, 201)


@router.post(
    "/streams/{stream}/frames",
    summary="The next frame of a stream",
    responses={
        200: {"model": FrameOutput},
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
    openapi_extra=_body("FrameInput", FRAME),
)
async def next_frame(request: Request, stream: Identity) -> Response:
    """Where the objects are that are followed, in the frame that is sent.

    `follow` begins objects here, `unfollow` ends some before. A frame that is refused begins and ends nothing, and the
    stream goes on; errors of the stream itself (429, 503, 504) end it, and the next frame gets a 404.
    """
    limits = _settings(request).limits
    sent = await body.read_json(request, FrameInput, limits)
    if len(sent.unfollow) > limits.max_prompts:
        raise InvalidValue.of("unfollow", f"{len(sent.unfollow)} objects", f"at most {limits.max_prompts}")
    frame = VideoFrame(
        image=decode_base64(sent.image.base64, "image.base64"),
        id="",
        follow=resolve_follow([(each.track_id, each.prompt) for each in sent.follow], "follow", limits),
        unfollow=tuple(sent.unfollow),
    )
    answer = await _streams(request).ask(stream, frame, caller_of(request))
    assert answer.answer is not None
    content = content_of(answer.answer, request.state.request_id, answer.track_ids)
    return _json({**content, "lost": answer.lost, "state_reset": answer.state_reset})


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
    await _streams(request).change(stream, await _config(request), caller_of(request))
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


async def _config(request: Request) -> StreamConfig:
    sent = await body.read_json(request, StreamInput, _settings(request).limits)
    fields = {name: getattr(sent, name) for name in StreamInput.model_fields}
    return StreamConfig(Question.model_construct(**fields, task="prompt"))


def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


def _streams(request: Request) -> OpenStreams:
    streams: OpenStreams = request.app.state.streams
    return streams


def _json(content: dict[str, Any], status: int = 200) -> Response:
    return Response(orjson.dumps(content), status, media_type="application/json")
