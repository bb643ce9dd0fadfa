"""A video stream on one worker, moved to another when that one goes: nothing of what was sent is lost.

    steps -> [taken, unanswered steps] -> worker -> answers

Steps are kept until their frames are answered. On another worker the question that holds comes first, then they do, the
first of them with the objects that are followed (`followed`).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace

from lexiseg_client.stubs import worker_pb2 as pb
from lexiseg_client.stubs.segmentation_pb2 import SegmentVideoResponse
from lexiseg_service.errors import NotReady
from lexiseg_service.fleet.followed import FollowedObjects
from lexiseg_service.fleet.links import WorkerLink, WorkerLost
from lexiseg_service.question.messages import StreamQuestion, VideoFrame
from lexiseg_service.wire.request import encode_step

Step = StreamQuestion | VideoFrame
Pick = Callable[[str, Collection[WorkerLink]], WorkerLink]
MOST_MOVES = 3  # in a row, without an answer in between: a frame that kills its worker must not kill them all
MOST_UNANSWERED = 64  # frames kept here, whatever the question allows
AHEAD = 4  # frames on their way beside those that are worked on
LOOK_SECONDS = 0.2  # whether the worker goes down


@dataclass
class _Connection:
    """One worker's turn."""

    link: WorkerLink
    question: StreamQuestion
    sent: int = 0  # of the unanswered steps


class RemoteStream:
    """One stream. `pick` finds a worker for a model, not one of those that were tried; each move is told to `moved`."""

    def __init__(self, pick: Pick, moved: Callable[[], None] = lambda: None) -> None:
        self._pick = pick
        self._tell_of_move = moved
        self._question: StreamQuestion | None = None  # holds for the first of the unanswered frames
        self._latest: StreamQuestion | None = None  # was taken last
        self._turn: _Connection | None = None  # the one that counts; another may not know yet that it is over
        self._followed = FollowedObjects()
        self._unanswered: deque[Step] = deque()
        self._n_frames = 0  # of them
        self._ended = False
        self._failure: Exception | None = None  # of whoever gives us the steps
        self._changed = asyncio.Condition()

    async def answers(self, steps: AsyncIterator[Step]) -> AsyncGenerator[SegmentVideoResponse, None]:
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
        """Takes steps while there is room for them."""
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
        except Exception as error:  # for whoever reads the answers
            self._failure = error
        async with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _has_room(self) -> bool:
        question = self._latest
        if question is not None and question.drop_policy == "latest":
            return self._n_frames < MOST_UNANSWERED  # what waited here would grow old, and the worker could not drop it
        return self._n_frames < min(MOST_UNANSWERED, AHEAD + (question.frames_in_flight if question else 0))

    async def _relay(self) -> AsyncGenerator[SegmentVideoResponse, None]:
        tried: list[WorkerLink] = []
        moved = False
        while (question := await self._next_question()) is not None:
            link = self._pick(question.request.model, tried)
            if moved:
                self._tell_of_move()
                self._followed.move()
            self._turn = turn = _Connection(link, replace(question, resumed=moved))
            with suppress(WorkerLost):
                async with aclosing(self._on(turn)) as answers:
                    async for answer in answers:
                        tried.clear()
                        answer.state_reset = answer.state_reset or moved
                        yield answer
                        moved = False
            tried.append(link)
            if len(tried) > MOST_MOVES:
                raise NotReady("the stream's workers went away, one after the other")
            moved = True

    async def _next_question(self) -> StreamQuestion | None:
        """The question for the first unanswered frame, when there is one; None when there will be none."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._n_frames or self._ended)
            while self._unanswered and isinstance(question := self._unanswered[0], StreamQuestion):
                self._hold(question)
                self._unanswered.popleft()
            return self._question if self._n_frames else None

    async def _on(self, turn: _Connection) -> AsyncGenerator[SegmentVideoResponse, None]:
        """Answers of one worker, until all is answered, or it goes down, or it lacks what is asked next."""
        try:
            async with aclosing(turn.link.stream(self._messages(turn))) as messages:
                async for message in messages:
                    if (frame := await self._settle(turn)) is not None:
                        self._followed.hear(frame, message)
                    del frame  # a silent client would have us keep it
                    yield message
        except NotReady:  # it goes down
            raise WorkerLost from None

    async def _settle(self, turn: _Connection) -> VideoFrame | None:
        """The first of the unanswered frames, which has its answer; questions before it are history."""
        async with self._changed:
            answered: VideoFrame | None = None
            while self._unanswered and answered is None:
                step = self._unanswered.popleft()
                turn.sent -= 1
                if isinstance(step, VideoFrame):
                    self._n_frames -= 1
                    answered = step
                else:
                    self._hold(step)
            self._changed.notify_all()
        return answered

    def _hold(self, question: StreamQuestion) -> None:
        self._question = question
        self._followed.ask(question)

    async def _messages(self, turn: _Connection) -> AsyncIterator[pb.WorkerSegmentVideoRequest]:
        """What goes to one worker; when it ends early, the worker still answers what it has."""
        yield encode_step(turn.question)
        while not turn.link.leaving:
            async with self._changed:
                if turn.sent >= len(self._unanswered):
                    if self._ended:
                        return
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._changed.wait(), LOOK_SECONDS)
                    continue
                step = self._unanswered[turn.sent]
                if isinstance(step, StreamQuestion) and not turn.link.serves(step.request.model):
                    return
                turn.sent += 1
            if isinstance(step, VideoFrame) and turn is self._turn:
                step = self._followed.resumed(step)
            message = encode_step(step)
            del step
            yield message
            del message
