"""Video streams of the public gRPC interface: messages are checked here, the work is the backend's."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from typing import TypeVar

from lexiseg_client.stubs import segmentation_pb2 as pb
from lexiseg_service.errors import DeadlineExceeded, InvalidValue, MalformedRequest, NotReady
from lexiseg_service.gateway.admission.door import Door
from lexiseg_service.gateway.failures import reason_of
from lexiseg_service.gateway.parsing import Parsing
from lexiseg_service.gateway.rpc.question import read_config, read_follow
from lexiseg_service.gateway.use_case import Caller, UseCase
from lexiseg_service.question.stream_messages import DropPolicy, Followed, StreamQuestion, VideoFrame
from lexiseg_service.settings import Limits, Settings
from lexiseg_service.shares import Hold, Shares
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.wire.enums import DROP_POLICIES, word_of
from lexiseg_service.wire.stream import encode_frame_answer

T = TypeVar("T")
FRAMES_IN_FLIGHT = 4
FIRST_SECONDS = 10.0  # for the first message of a stream
MOST_IN_FLIGHT = 16
HIGHEST_SMOOTHING = 0.95
LONGEST_FRAME_ID = 128  # characters
GOING_DOWN = "the service is going down; open the stream again"


class VideoService:
    """Checks a stream's messages and relays them to the backend."""

    def __init__(self, use_case: UseCase, settings: Settings, metrics: Metrics, door: Door, parsing: Parsing) -> None:
        self._use_case = use_case
        self._parsing = parsing
        self._room = door.bytes  # for frames until they are answered
        self._gate = door.gate
        self._settings = settings
        self._metrics = metrics
        self._leaving = False
        self._patience: set[asyncio.Timeout] = set()  # of the streams that wait

    def leave(self) -> None:
        """Streams take no more messages, answer what they have, and end with `NotReady`: the process goes down."""
        self._leaving = True
        for patience in self._patience:
            patience.reschedule(0)

    def check_frame(self, frame: pb.Frame) -> None:
        """What a stream looks at in a frame before it takes it.

        Raises:
            InvalidValue: the objects that it begins or ends are not as expected; a stream that is told so ends.
        """
        _followed_from(frame, self._settings.limits)

    async def check_config(self, config: pb.StreamConfig, caller: Caller) -> None:
        """Whether a stream can ask that.

        Raises:
            ServiceError: what a stream would end with.
        """
        await self._question(config, caller)

    async def stream(
        self,
        messages: AsyncIterator[pb.SegmentVideoRequest],
        caller: Caller,
        accepted: Callable[[], Awaitable[object]],
        room: Shares | None = None,
    ) -> AsyncGenerator[pb.SegmentVideoResponse, None]:
        """One answer for each frame; `accepted` is awaited when the first config has been found good.

        Args:
            room: for frames and configs that are requests of their own, counted elsewhere. Without it the bytes of
                frames are counted as the gateway's, and a config after the first one as a request.

        Raises:
            ServiceError: the stream as a whole failed.
        """
        unanswered: deque[Hold] = deque()  # room of each frame
        try:
            async with (
                aclosing(self._steps(messages, caller, accepted, unanswered, room)) as steps,
                aclosing(self._use_case.backend.stream(steps)) as answers,
            ):
                async for answer in answers:
                    if unanswered:
                        unanswered.popleft().release()
                    if answer.error is not None:
                        self._metrics.failed(reason_of(answer.error))
                    yield encode_frame_answer(answer, caller.request_id)
        except Exception as error:
            self._metrics.failed(reason_of(error))
            raise
        finally:
            for hold in unanswered:
                hold.release()

    async def _steps(
        self,
        messages: AsyncIterator[pb.SegmentVideoRequest],
        caller: Caller,
        accepted: Callable[[], Awaitable[object]],
        unanswered: deque[Hold],
        elsewhere: Shares | None,
    ) -> AsyncGenerator[StreamQuestion | VideoFrame, None]:
        """What the messages say, checked; room for each frame is added to `unanswered`.

        Raises:
            MalformedRequest: a message is empty, or a frame came before the first config.
            InvalidValue: a value of a config or a prompt is out of range, or a frame's id too long.
            ServiceError: as `UseCase.resolved`.
            DeadlineExceeded: the client is silent.
            QueueFull: there was no room for a frame.
            RateLimited: the client itself held the room, or asks another question too often.
            NotReady: the process goes down.
        """
        room = elsewhere or self._room
        n_frames = 0
        question: StreamQuestion | None = None
        while True:
            settings = self._settings
            silence = FIRST_SECONDS if question is None else settings.stream_idle_seconds
            try:
                message = await self._next(messages, silence)
            except StopAsyncIteration:
                return
            kind = message.WhichOneof("message")
            if kind == "config":
                if question is not None and elsewhere is None and self._gate is not None:
                    await self._gate.count(caller.client)
                is_first, question = question is None, await self._question(message.config, caller)
                del message
                yield question
                if is_first:  # and the backend, which wants to know more, has a place for the stream
                    await accepted()
            elif kind is None:
                raise MalformedRequest("a message without config and frame")
            elif question is None:
                raise MalformedRequest("the first message of a stream is a frame; expected a config")
            else:
                self._metrics.question("stream")
                frame = _frame(message.frame, n_frames, question, settings.limits)
                del message  # with its own copy of the image
                waiting = room.wait(caller.client, len(frame.image), settings.deadline_seconds)
                unanswered.append(await self._unless_leaving(waiting))
                yield replace(frame, size=await self._use_case.size_of_frame(frame.image))
                del frame  # else it would be kept for as long as the client is silent
                n_frames += 1

    async def _next(self, messages: AsyncIterator[pb.SegmentVideoRequest], seconds: float) -> pb.SegmentVideoRequest:
        try:
            return await self._unless_leaving(anext(messages), seconds)
        except TimeoutError:
            raise DeadlineExceeded(f"no message came for {seconds:g} seconds; the video stream is ended") from None

    async def _unless_leaving(self, work: Awaitable[T], seconds: float | None = None) -> T:
        """What `work` gives.

        Raises:
            NotReady: the process goes down.
            TimeoutError: it took too long.
        """
        if self._leaving:
            raise NotReady(GOING_DOWN)
        try:
            async with asyncio.timeout(seconds) as patience:
                self._patience.add(patience)
                try:
                    return await work
                finally:
                    self._patience.discard(patience)
        except TimeoutError:
            if self._leaving:
                raise NotReady(GOING_DOWN) from None
            raise

    async def _question(self, config: pb.StreamConfig, caller: Caller) -> StreamQuestion:
        question = await read_config(config, self._settings.limits, self._parsing)
        request = await self._use_case.resolved(question, caller)
        deadline = time.monotonic() + self._settings.deadline_seconds
        looked_at = await self._use_case.with_examples(question, replace(request, deadline=deadline))
        request = replace(looked_at, deadline=request.deadline)
        return StreamQuestion(
            request=request,
            smoothing=_smoothing(config),
            tracking=config.tracking,
            drop_policy=_drop_policy(config),
            frames_in_flight=_in_flight(config),
        )


def _frame(frame: pb.Frame, number: int, question: StreamQuestion, limits: Limits) -> VideoFrame:
    if len(frame.id) > LONGEST_FRAME_ID:
        raise InvalidValue.of("frame.id", f"{len(frame.id)} characters", f"at most {LONGEST_FRAME_ID}")
    if (frame.follow or frame.unfollow) and question.request.task != "prompt":
        raise InvalidValue.of("task", question.request.task, "prompt, where objects are to be followed")
    follow = _followed_from(frame, limits)
    return VideoFrame(frame.image, frame.id or str(number), frame.timestamp_us, follow, tuple(frame.unfollow))


def _followed_from(frame: pb.Frame, limits: Limits) -> tuple[Followed, ...]:
    if len(frame.unfollow) > limits.max_prompts:
        raise InvalidValue.of("frame.unfollow", f"{len(frame.unfollow)} objects", f"at most {limits.max_prompts}")
    return read_follow(frame.follow, limits)


def _smoothing(config: pb.StreamConfig) -> float:
    smoothing = config.smoothing
    if math.isnan(smoothing) or not 0 <= smoothing <= HIGHEST_SMOOTHING:
        raise InvalidValue.of("smoothing", smoothing, f"0 to {HIGHEST_SMOOTHING}")
    return smoothing


def _drop_policy(config: pb.StreamConfig) -> DropPolicy:
    policy = word_of(DROP_POLICIES, config.drop_policy) if config.drop_policy else "none"
    if policy is None:
        raise InvalidValue.of("drop_policy", config.drop_policy, "DROP_POLICY_NONE or DROP_POLICY_LATEST")
    return policy


def _in_flight(config: pb.StreamConfig) -> int:
    if not config.HasField("frames_in_flight"):
        return FRAMES_IN_FLIGHT
    if not 1 <= config.frames_in_flight <= MOST_IN_FLIGHT:
        raise InvalidValue.of("frames_in_flight", config.frames_in_flight, f"1 to {MOST_IN_FLIGHT}")
    return config.frames_in_flight
