"""The /streams routes: objects or classes through a clip, where each frame is a request of its own, as of web pages.

    POST /streams -> id of a stream -> frame, answer -> new config -> frame, answer -> ... -> DELETE, or idle

A task per stream feeds `VideoService.stream` and hands out the answers: a stream lives in the gateway that opened it.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import Response

from lexiseg_service.errors import DeadlineExceeded, InvalidValue, ServiceError, UnknownStream, unexpected
from lexiseg_service.gateway.admission.access import Caller
from lexiseg_service.gateway.rest import body
from lexiseg_service.gateway.rest.openapi import OF_SEGMENT, json_body, problems
from lexiseg_service.gateway.rest.routes import as_json, caller_of, settings_of
from lexiseg_service.gateway.video import Step, StreamConfig, VideoService
from lexiseg_service.question.messages import answer_content
from lexiseg_service.question.prompts import decode_base64, resolve_follow
from lexiseg_service.question.schemas import FrameInput, FrameOutput, Question, StreamInput, StreamOutput
from lexiseg_service.question.streams import FrameAnswer, VideoFrame
from lexiseg_service.settings import STREAM_IDLE_SECONDS, Settings
from lexiseg_service.shares import Shares

logger = structlog.get_logger("lexiseg.gateway")
ID_BYTES = 16
Identity = Annotated[
    str, Path(description="stream id, from the answer of `POST /v1/streams`", examples=["3q2-7wAAAAAAAAAAAAAAAA"])
]
FRAME: dict[str, Any] = {
    "image": {"base64": "/9j/4AAQSkZJRgABAQ..."},
    "follow": [{"track_id": 1, "prompt": {"box": [2, 4, 30, 40]}}],
    "unfollow": [],
}
PROBLEMS = problems(*OF_SEGMENT, UnknownStream)


class OpenStreams:
    """The streams that are open in this gateway. `places` counts them."""

    def __init__(self, video: VideoService, settings: Settings, places: Shares) -> None:
        self._video = video
        self._places = places
        self._seconds = settings.deadline_seconds
        self._open: dict[str, _Stream] = {}

    async def open(self, config: StreamConfig, caller: Caller) -> str:
        hold = self._places.take(caller.client)
        stream = _Stream(caller.owner)
        identity = secrets.token_urlsafe(ID_BYTES)
        self._open[identity] = stream
        stream.task = asyncio.create_task(self._run(identity, stream, caller))
        stream.task.add_done_callback(lambda _: hold.release())
        try:
            await stream.ask(config)
        except BaseException:
            self._open.pop(identity, None)  # a task that has not begun does not
            stream.task.cancel()
            raise
        return identity

    async def ask(self, identity: str, frame: VideoFrame, caller: Caller) -> FrameAnswer:
        stream = self._of(identity, caller)
        try:
            async with asyncio.timeout(self._seconds):
                answer = await stream.ask(frame)
        except TimeoutError:
            raise DeadlineExceeded(f"the frame was not answered within {self._seconds:g} seconds") from None
        assert answer is not None
        if answer.error is not None:
            raise answer.error
        return answer

    async def change(self, identity: str, config: StreamConfig, caller: Caller) -> None:
        """Use `config` for the frames after this; a refused one leaves the stream as it was."""
        stream = self._of(identity, caller)
        await self._video.question_of(config, caller)
        stream.put(config)

    async def end(self, identity: str, caller: Caller) -> None:
        stream = self._of(identity, caller)
        del self._open[identity]
        stream.put(None)
        if stream.task is not None:
            with suppress(asyncio.CancelledError):
                await asyncio.shield(stream.task)

    async def close(self) -> None:
        tasks = [stream.task for stream in self._open.values() if stream.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _of(self, identity: str, caller: Caller) -> _Stream:
        stream = self._open.get(identity)
        if stream is None or stream.owner != caller.owner:
            raise UnknownStream("no such stream is open here; open another one and show it the objects again")
        return stream

    async def _run(self, identity: str, stream: _Stream, caller: Caller) -> None:
        failure: ServiceError = UnknownStream("the stream has ended")
        try:
            steps = stream.steps()
            async with aclosing(self._video.stream(steps, caller, stream.accept, counted=True)) as answers:
                async for answer in answers:
                    stream.hand_out(answer)
        except ServiceError as error:
            failure = error
        except Exception as error:
            logger.error("unexpected error", error=type(error).__name__, key_id=caller.owner, exc_info=error)
            failure = unexpected()
        finally:
            self._open.pop(identity, None)
            stream.fail(failure)


class _Stream:
    """One stream: steps go in; the first config and each frame wait for their answers, which come in the same order."""

    def __init__(self, owner: str) -> None:
        self.owner = owner
        self.task: asyncio.Task[None] | None = None
        self._failure: ServiceError | None = None
        self._inbox: asyncio.Queue[Step | None] = asyncio.Queue()
        self._waiting: deque[asyncio.Future[FrameAnswer | None]] = deque()

    async def steps(self) -> AsyncGenerator[Step, None]:
        while (step := await self._inbox.get()) is not None:
            yield step

    async def ask(self, step: Step) -> FrameAnswer | None:
        """The answer about a frame; None when the first config is accepted."""
        self.put(step)
        waiter: asyncio.Future[FrameAnswer | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        return await waiter

    def put(self, step: Step | None) -> None:
        if self._failure is not None:
            raise self._failure
        self._inbox.put_nowait(step)

    async def accept(self) -> None:
        self.hand_out(None)

    def hand_out(self, answer: FrameAnswer | None) -> None:
        """Give an answer to the oldest waiter, which may have been cancelled."""
        waiter = self._waiting.popleft()
        if not waiter.done():
            waiter.set_result(answer)

    def fail(self, error: ServiceError) -> None:
        self._failure = error
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_exception(error)
        self._waiting.clear()


router = APIRouter(tags=["streams"])


@router.post(
    "/streams",
    status_code=201,
    summary="Open a stream that follows objects or classes through a video",
    responses={201: {"model": StreamOutput}, **problems(*OF_SEGMENT)},
    openapi_extra=json_body("StreamInput", {"classes": ["cow", "dog"], "model": "tiny"}),
)
async def open_stream(request: Request) -> Response:
    """Open a stream of frames, sent one after the other; followed objects are labelled if it names classes.

    The stream exists in the gateway that answers: a load balancer must send its frames to the same gateway.
    """
    identity = await _streams(request).open(await _config(request), caller_of(request))
    return as_json({"stream": identity, "idle_seconds": STREAM_IDLE_SECONDS}, 201)


@router.post(
    "/streams/{stream}/frames",
    summary="Send the next frame of a stream",
    responses={200: {"model": FrameOutput}, **PROBLEMS},
    openapi_extra=json_body("FrameInput", FRAME),
)
async def next_frame(request: Request, stream: Identity) -> Response:
    """Return the masks of the followed objects, or of the classes, in this frame.

    `follow` starts objects in this frame, `unfollow` stops objects before it. A rejected frame starts and stops
    nothing, and the stream continues; errors of the stream itself (429, 503, 504) close it: the next frame gets 404.
    """
    limits = settings_of(request).limits
    frame_input = await body.read_json(request, FrameInput, limits)
    if len(frame_input.unfollow) > limits.max_prompts:
        raise InvalidValue.of("unfollow", f"{len(frame_input.unfollow)} objects", f"at most {limits.max_prompts}")
    frame = VideoFrame(
        image=decode_base64(frame_input.image.base64, "image.base64"),
        id="",
        follow=resolve_follow([(each.track_id, each.prompt) for each in frame_input.follow], "follow", limits),
        unfollow=tuple(frame_input.unfollow),
    )
    answer = await _streams(request).ask(stream, frame, caller_of(request))
    assert answer.answer is not None
    content = answer_content(answer.answer, request.state.request_id)
    return as_json({**content, "lost": answer.lost, "state_reset": answer.state_reset})


@router.put(
    "/streams/{stream}",
    status_code=204,
    summary="Change the settings of a stream",
    responses=PROBLEMS,
    response_class=Response,
    openapi_extra=json_body("StreamInput", {"classes": ["cow", "dog", "horse"], "model": "tiny"}),
)
async def change_stream(request: Request, stream: Identity) -> Response:
    """Replace all settings from the next frame on; omitted fields take the defaults of a new stream.

    Objects keep their numbers and get labels of the new classes; another `model` or `max_side` drops them, and the
    next answer has `state_reset`. A rejected request leaves the stream unchanged.
    """
    await _streams(request).change(stream, await _config(request), caller_of(request))
    return Response(status_code=204)


@router.delete(
    "/streams/{stream}",
    status_code=204,
    summary="Close a stream",
    responses=problems(UnknownStream),
    response_class=Response,
)
async def end_stream(request: Request, stream: Identity) -> Response:
    """Close a stream; its objects are dropped."""
    await _streams(request).end(stream, caller_of(request))
    return Response(status_code=204)


async def _config(request: Request) -> StreamConfig:
    stream = await body.read_json(request, StreamInput, settings_of(request).limits)
    fields = {name: getattr(stream, name) for name in StreamInput.model_fields}
    return StreamConfig(question=Question.model_construct(**fields), tracking=stream.task != "prompt")


def _streams(request: Request) -> OpenStreams:
    streams: OpenStreams = request.app.state.streams
    return streams
