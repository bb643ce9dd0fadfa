"""A video stream on one worker, with failover to another one without losing a frame.

    steps -> [unanswered frames] -> worker -> answers

Frames are kept until they are answered, each with its question; a new worker gets them all. Where no other one is
ready, as after the only one was killed, the stream waits for its restart. What the stream followed is forgotten with
the worker that saw it: the first answer after the move says `state_reset`.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from functools import partial

from lexiseg_client.stubs.worker_pb2 import WorkerSegmentVideoRequest
from lexiseg_model.model_name import ModelName
from lexiseg_service.errors import NotReady
from lexiseg_service.fleet.links import WorkerLink, WorkerLost
from lexiseg_service.question.streams import FrameAnswer, StreamQuestion, VideoFrame
from lexiseg_service.wire.messages import decode_frame_answer, encode_step

Step = StreamQuestion | VideoFrame
Pick = Callable[[str, Collection[str]], WorkerLink]
MAX_FAILOVERS = 3  # in a row without an answer: a frame that crashes its worker must not crash all of them
MAX_UNANSWERED = 64  # frames that are kept here
AHEAD = 4  # frames in transit besides the ones at work
CHECK_SECONDS = 0.2  # whether the worker is shutting down, or another one is ready


@dataclass
class _Connection:
    link: WorkerLink
    instance: str  # of its process
    resumed: bool  # another worker answered earlier frames
    n_sent: int = 0  # how many of the unanswered frames


class RemoteStream:
    """One stream; after a worker is lost, it waits `patience` seconds for another one."""

    def __init__(self, pick: Pick, patience: float, moved: Callable[[], None] = lambda: None) -> None:
        self._pick = pick
        self._patience = patience
        self._on_failover = moved
        self._unanswered: deque[tuple[StreamQuestion, VideoFrame]] = deque()  # frames, each with its question
        self._leaving: set[str] = set()  # ids of workers' processes that shut down
        self._ended = False
        self._failure: Exception | None = None  # of the source of the steps
        self._changed = asyncio.Condition()

    async def answers(self, steps: AsyncIterator[Step]) -> AsyncGenerator[FrameAnswer, None]:
        taking = asyncio.ensure_future(self._take_steps(steps))
        try:
            async with aclosing(self._relay()) as answers:
                async for answer in answers:
                    yield answer
            if self._failure is not None:
                raise self._failure
        finally:
            taking.cancel()
            with suppress(asyncio.CancelledError):
                await taking

    async def _take_steps(self, steps: AsyncIterator[Step]) -> None:
        question: StreamQuestion | None = None
        try:
            async for step in steps:
                if isinstance(step, StreamQuestion):
                    question = step
                    continue
                assert question is not None, "a stream begins with a question"
                async with self._changed:
                    self._unanswered.append((question, step))
                    del step
                    self._changed.notify_all()
                    await self._changed.wait_for(partial(self._has_room, question))
        except Exception as error:  # raised after the answers
            self._failure = error
        async with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _has_room(self, question: StreamQuestion) -> bool:
        if question.drop_policy == "latest":
            return len(self._unanswered) < MAX_UNANSWERED  # the worker drops frames, so it must see them at once
        return len(self._unanswered) < min(MAX_UNANSWERED, AHEAD + question.frames_in_flight)

    async def _relay(self) -> AsyncGenerator[FrameAnswer, None]:
        failures = 0  # since the last answer
        while (question := await self._next_question()) is not None:
            link = await self._next_link(question.request.model, self._patience if failures else 0)
            if failures:
                self._on_failover()
            with suppress(WorkerLost):
                async with aclosing(self._answers_on(_Connection(link, link.instance, failures > 0))) as answers:
                    async for answer in answers:
                        yield replace(answer, state_reset=answer.state_reset or failures > 0)
                        failures = 0
            failures += 1
            if failures > MAX_FAILOVERS:
                raise NotReady("the stream's workers failed, one after the other")

    async def _next_link(self, model: str, patience: float) -> WorkerLink:
        """A worker for a model. Raises NotReady: none is ready within `patience` seconds."""
        end = time.monotonic() + patience
        while True:
            try:
                return self._pick(model, self._leaving)
            except NotReady as error:
                if time.monotonic() >= end:
                    moving = f"the stream needs another worker: after {patience:g} seconds " if patience else ""
                    raise NotReady(f"{moving}{error.detail}") from None
            await asyncio.sleep(CHECK_SECONDS)

    async def _next_question(self) -> StreamQuestion | None:
        """The question of the first unanswered frame, once there is one; None when the stream is over."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._unanswered or self._ended)
            return self._unanswered[0][0] if self._unanswered else None

    async def _answers_on(self, connection: _Connection) -> AsyncGenerator[FrameAnswer, None]:
        """Answers of one worker, until all is answered, it shuts down, or it lacks the next model."""
        try:
            async with aclosing(connection.link.stream(self._messages(connection))) as messages:
                async for message in messages:
                    async with self._changed:
                        self._unanswered.popleft()
                        connection.n_sent -= 1
                        self._changed.notify_all()
                    yield decode_frame_answer(message)
        except NotReady:  # it shuts down
            self._leaving.add(connection.instance)
            raise WorkerLost from None

    async def _messages(self, connection: _Connection) -> AsyncIterator[WorkerSegmentVideoRequest]:
        """The messages to one worker; when they end early, the worker still answers what it has."""
        current: StreamQuestion | None = None
        while not connection.link.draining:
            async with self._changed:
                if connection.n_sent >= len(self._unanswered):
                    if self._ended:
                        return
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._changed.wait(), CHECK_SECONDS)
                    continue
                question, frame = self._unanswered[connection.n_sent]
                if not connection.link.serves(ModelName.parse(question.request.model)):
                    return
                connection.n_sent += 1
            if question is not current:
                yield encode_step(replace(question, resumed=connection.resumed and current is None))
                current = question
            message = encode_step(frame)
            del frame
            yield message
            del message
