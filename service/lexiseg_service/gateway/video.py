"""Video streams of every protocol: checks the steps of a stream and relays them to a worker.

config, frames -> checks, room for each frame -> worker -> one answer per frame, in order
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, suppress
from dataclasses import replace
from typing import TypeVar

from pydantic import Field, field_validator

from lexiseg_model.cards import StrictModel
from lexiseg_service.errors import DeadlineExceeded, InvalidValue, MalformedRequest, ServiceError
from lexiseg_service.gateway.admission.access import AccessControl, Caller
from lexiseg_service.gateway.use_case import UseCase
from lexiseg_service.question.schemas import Question
from lexiseg_service.question.streams import DropPolicy, FrameAnswer, StreamQuestion, VideoFrame
from lexiseg_service.settings import FIRST_MESSAGE_SECONDS, STREAM_IDLE_SECONDS, Settings
from lexiseg_service.shares import Hold
from lexiseg_service.watch.metrics import Metrics, failure_reason

T = TypeVar("T")
MAX_FRAME_ID_LENGTH = 128  # characters
GOING_DOWN = "the service is going down; open the stream again"
Accepted = Callable[[], Awaitable[object]]


class StreamConfig(StrictModel):
    """The question for all frames from now on, before its classes and its model are resolved."""

    question: Question
    smoothing: float = Field(0.0, ge=0, le=0.95)
    tracking: bool = False
    drop_policy: DropPolicy = "none"
    frames_in_flight: int = Field(4, ge=1, le=16)

    @field_validator("question")
    @classmethod
    def _is_about_frames(cls, question: Question) -> Question:
        if question.task == "everything":
            raise InvalidValue.of("task", question.task, "semantic, instance, panoptic or prompt in a stream")
        return question


Step = StreamConfig | VideoFrame


class VideoService:
    def __init__(self, use_case: UseCase, settings: Settings, metrics: Metrics, access: AccessControl) -> None:
        self._use_case = use_case
        self._settings = settings
        self._metrics = metrics
        self._frame_bytes = access.bytes  # of frames that are not answered yet
        self._client_limits = access.limits

    async def stream(
        self, steps: AsyncIterator[Step], caller: Caller, accepted: Accepted, *, counted: bool = False
    ) -> AsyncGenerator[FrameAnswer, None]:
        """One answer for each frame of `steps`: a config first; a later one holds for the frames after it.

        `accepted` is awaited when the first config is; `counted`: the steps are requests, whose bytes are counted.
        """
        holds: deque[Hold] = deque()  # of each unanswered frame
        try:
            async with (
                aclosing(self._checked(steps, caller, accepted, None if counted else holds)) as checked,
                aclosing(self._use_case.backend.stream(checked)) as answers,
            ):
                async for answer in answers:
                    if holds:
                        holds.popleft().release()
                    if answer.error is not None:
                        self._metrics.failures.labels(failure_reason(answer.error)).inc()
                    yield answer
        except Exception as error:
            self._metrics.failures.labels(failure_reason(error)).inc()
            raise
        finally:
            for hold in holds:
                hold.release()

    async def _checked(
        self,
        steps: AsyncIterator[Step],
        caller: Caller,
        accepted: Accepted,
        holds: deque[Hold] | None,
    ) -> AsyncGenerator[StreamQuestion | VideoFrame, None]:
        """The steps for the worker; room for each frame is added to `holds`, unless they are counted already."""
        question: StreamQuestion | None = None
        n_frames = 0
        while True:
            step = await self._wait(
                anext(steps, None), FIRST_MESSAGE_SECONDS if question is None else STREAM_IDLE_SECONDS
            )
            if step is None:
                return
            if isinstance(step, StreamConfig):
                is_first = question is None
                if not is_first and holds is not None:
                    await self._client_limits.count(caller.client)
                question = await self.question_of(step, caller)
                yield question
                if is_first:  # the worker, which checks more, has taken the stream
                    await accepted()
                continue
            if question is None:
                raise MalformedRequest("the first message of a stream is a frame; expected a config")
            self._metrics.questions.labels("stream").inc()
            if len(step.id) > MAX_FRAME_ID_LENGTH:
                raise InvalidValue.of("frame.id", f"{len(step.id)} characters", f"at most {MAX_FRAME_ID_LENGTH}")
            if (step.follow or step.unfollow) and question.request.task != "prompt":
                raise InvalidValue.of("task", question.request.task, "prompt, where objects are to be followed")
            if holds is not None:
                room = self._frame_bytes.wait(caller.client, len(step.image), self._settings.deadline_seconds)
                holds.append(await self._wait(room, math.inf))
            header = None
            with suppress(ServiceError):  # the worker reports it
                deadline = time.monotonic() + self._settings.deadline_seconds
                header, _ = await self._use_case.headers.identify(step.image, caller.client, deadline)
            yield replace(step, id=step.id or str(n_frames), header=header)
            del step  # a silent client would keep its image in memory
            n_frames += 1

    async def _wait(self, work: Awaitable[T], seconds: float) -> T:
        """The result of `work`, which is cancelled when the shutdown begins or a message does not come in time."""
        deadline = asyncio.get_running_loop().time() + seconds
        try:
            async with self._use_case.shutdown.timeout_at(deadline, 0, GOING_DOWN):
                return await work
        except TimeoutError:
            raise DeadlineExceeded(f"no message came for {seconds:g} seconds; the video stream is ended") from None

    async def question_of(self, config: StreamConfig, caller: Caller) -> StreamQuestion:
        request = await self._use_case.request(config.question, caller, of_stream=True)
        options = config.model_dump(exclude={"question"})
        return StreamQuestion(replace(request, deadline=math.inf), **options)
