"""A video stream on one worker, with failover to another one without losing a frame.

    steps -> [unanswered steps] -> worker -> answers

Steps are kept until their frames are answered. A new worker gets the current question first, then the kept steps. What
the stream followed is forgotten with the worker that saw it; the first answer after the move says `state_reset`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace

from lexiseg_client.stubs.worker_pb2 import WorkerSegmentVideoRequest
from lexiseg_service.errors import NotReady
from lexiseg_service.fleet.links import WorkerLink, WorkerLost
from lexiseg_service.question.messages import FrameAnswer, StreamQuestion, VideoFrame
from lexiseg_service.wire.answer import decode_frame_answer
from lexiseg_service.wire.request import encode_step

Step = StreamQuestion | VideoFrame
Pick = Callable[[str, Collection[WorkerLink]], WorkerLink]
MAX_FAILOVERS = 3  # in a row without an answer: a frame that crashes its worker must not crash all of them
MAX_UNANSWERED = 64  # frames that are kept here
AHEAD = 4  # frames in transit besides those at work
CHECK_SECONDS = 0.2  # whether the worker is shutting down


@dataclass
class _Connection:
    """The part of a stream on one worker."""

    link: WorkerLink
    question: StreamQuestion
    sent: int = 0  # how many of the unanswered steps


class RemoteStream:
    """One stream. `pick` finds a worker for a model, other than those tried; `moved` is called at each failover."""

    def __init__(self, pick: Pick, moved: Callable[[], None] = lambda: None) -> None:
        self._pick = pick
        self._on_failover = moved
        self._question: StreamQuestion | None = None  # of the first unanswered frame
        self._latest: StreamQuestion | None = None  # the last one taken
        self._unanswered: deque[Step] = deque()
        self._n_frames = 0  # of them
        self._ended = False
        self._failure: Exception | None = None  # of the source of the steps
        self._changed = asyncio.Condition()

    async def answers(self, steps: AsyncIterator[Step]) -> AsyncGenerator[FrameAnswer, None]:
        """Answers in the order of the frames.

        Raises:
            ServiceError: no worker can take the stream, or one refuses it.
        """
        taking = asyncio.ensure_future(self._take(steps))
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

    async def _take(self, steps: AsyncIterator[Step]) -> None:
        """Take steps while there is room for them."""
        try:
            async for step in steps:
                async with self._changed:
                    if isinstance(step, VideoFrame):
                        self._n_frames += 1
                    else:
                        self._latest = step
                    self._unanswered.append(step)
                    del step
                    self._changed.notify_all()
                    await self._changed.wait_for(self._has_room)
        except Exception as error:  # raised after the answers
            self._failure = error
        async with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _has_room(self) -> bool:
        question = self._latest
        if question is not None and question.drop_policy == "latest":
            return self._n_frames < MAX_UNANSWERED  # the worker drops frames, so it must see them at once
        return self._n_frames < min(MAX_UNANSWERED, AHEAD + (question.frames_in_flight if question else 0))

    async def _relay(self) -> AsyncGenerator[FrameAnswer, None]:
        tried: list[WorkerLink] = []
        moved = False
        while (question := await self._next_question()) is not None:
            link = self._pick(question.request.model, tried)
            if moved:
                self._on_failover()
            connection = _Connection(link, replace(question, resumed=moved))
            with suppress(WorkerLost):
                async with aclosing(self._on(connection)) as answers:
                    async for answer in answers:
                        tried.clear()
                        yield replace(answer, state_reset=answer.state_reset or moved)
                        moved = False
            tried.append(link)
            if len(tried) > MAX_FAILOVERS:
                raise NotReady("the stream's workers failed, one after the other")
            moved = True

    async def _next_question(self) -> StreamQuestion | None:
        """The question of the first unanswered frame, once there is one; None when the stream is over."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._n_frames or self._ended)
            while self._unanswered and isinstance(question := self._unanswered[0], StreamQuestion):
                self._question = question
                self._unanswered.popleft()
            return self._question if self._n_frames else None

    async def _on(self, connection: _Connection) -> AsyncGenerator[FrameAnswer, None]:
        """Answers of one worker, until all is answered, it shuts down, or it lacks the next model."""
        try:
            async with aclosing(connection.link.stream(self._messages(connection))) as messages:
                async for message in messages:
                    await self._settle(connection)
                    yield decode_frame_answer(message)
        except NotReady:  # it shuts down
            raise WorkerLost from None

    async def _settle(self, connection: _Connection) -> None:
        """Remove the first unanswered frame, which has its answer now, and the questions before it."""
        async with self._changed:
            while self._unanswered:
                step = self._unanswered.popleft()
                connection.sent -= 1
                if isinstance(step, VideoFrame):
                    self._n_frames -= 1
                    break
                self._question = step
            self._changed.notify_all()

    async def _messages(self, connection: _Connection) -> AsyncIterator[WorkerSegmentVideoRequest]:
        """The messages to one worker; when they end early, the worker still answers what it has."""
        yield encode_step(connection.question)
        while not connection.link.draining:
            async with self._changed:
                if connection.sent >= len(self._unanswered):
                    if self._ended:
                        return
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._changed.wait(), CHECK_SECONDS)
                    continue
                step = self._unanswered[connection.sent]
                if isinstance(step, StreamQuestion) and not connection.link.serves(step.request.model):
                    return
                connection.sent += 1
            message = encode_step(step)
            del step
            yield message
            del message
