"""A video stream on one worker, with failover to another one without losing a frame.

    steps -> [unanswered steps] -> worker -> answers

Steps are kept until their frames are answered. A new worker gets the current question first, then the kept steps; the
first frame shows the followed objects again. Only the worker knows what an object looks like; the gateway keeps the box
of each object's last mask (`FollowedObjects`).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace

from lexiseg_client.stubs.segmentation_pb2 import SegmentVideoResponse
from lexiseg_client.stubs.worker_pb2 import WorkerSegmentVideoRequest
from lexiseg_model.types import Prompt
from lexiseg_service.errors import NotReady
from lexiseg_service.fleet.links import WorkerLink, WorkerLost
from lexiseg_service.question.messages import Followed, StreamQuestion, VideoFrame
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
        self._connection: _Connection | None = None  # the current one; an earlier one may still be closing
        self._followed = FollowedObjects()
        self._unanswered: deque[Step] = deque()
        self._n_frames = 0  # of them
        self._ended = False
        self._failure: Exception | None = None  # of the source of the steps
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

    async def _relay(self) -> AsyncGenerator[SegmentVideoResponse, None]:
        tried: list[WorkerLink] = []
        moved = False
        while (question := await self._next_question()) is not None:
            link = self._pick(question.request.model, tried)
            if moved:
                self._on_failover()
                self._followed.move()
            self._connection = connection = _Connection(link, replace(question, resumed=moved))
            with suppress(WorkerLost):
                async with aclosing(self._on(connection)) as answers:
                    async for answer in answers:
                        tried.clear()
                        answer.state_reset = answer.state_reset or moved
                        yield answer
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
                self._hold(question)
                self._unanswered.popleft()
            return self._question if self._n_frames else None

    async def _on(self, connection: _Connection) -> AsyncGenerator[SegmentVideoResponse, None]:
        """Answers of one worker, until all is answered, it shuts down, or it lacks the next model."""
        try:
            async with aclosing(connection.link.stream(self._messages(connection))) as messages:
                async for message in messages:
                    if (frame := await self._settle(connection)) is not None:
                        self._followed.hear(frame, message)
                    del frame  # a silent client would keep it in memory
                    yield message
        except NotReady:  # it shuts down
            raise WorkerLost from None

    async def _settle(self, connection: _Connection) -> VideoFrame | None:
        """Remove the first unanswered frame, which has its answer now, and the questions before it."""
        async with self._changed:
            answered: VideoFrame | None = None
            while self._unanswered and answered is None:
                step = self._unanswered.popleft()
                connection.sent -= 1
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

    async def _messages(self, connection: _Connection) -> AsyncIterator[WorkerSegmentVideoRequest]:
        """The messages to one worker; when they end early, the worker still answers what it has."""
        yield encode_step(connection.question)
        while not connection.link.leaving:
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
            if isinstance(step, VideoFrame) and connection is self._connection:
                step = self._followed.resumed(step)
            message = encode_step(step)
            del step
            yield message
            del message


Box = tuple[float, float, float, float]


class FollowedObjects:
    """The objects of one stream."""

    def __init__(self) -> None:
        self._boxes: dict[int, Box | None] = {}  # by track id; None: lost
        self._again: dict[int, Box] = {}  # to be shown to the new worker
        self._shown: VideoFrame | None = None  # the frame that shows them
        self._before: dict[int, Box] = {}  # of the previous answer
        self._size = (0, 0)  # height, width of the last frame
        self._ended: set[int] = set()  # by dropped frames; the next frame that is not dropped ends them
        self._meaning: tuple[object, ...] | None = None

    def ask(self, question: StreamQuestion) -> None:
        """Take a new question; another model, size or task forgets all objects."""
        request = question.request
        meaning = (request.model, request.max_side) if request.task == "prompt" else None
        if meaning != self._meaning:
            self._boxes.clear()
            self._again.clear()
        self._meaning = meaning

    def move(self) -> None:
        """Prepare for a new worker."""
        self._again = {
            number: _shifted(box, self._before.get(number, box), self._size)
            for number, box in self._boxes.items()
            if box is not None
        }
        self._shown = None

    def resumed(self, frame: VideoFrame) -> VideoFrame:
        """A frame for the worker, with the objects that it must show again."""
        if not self._again or self._shown is not None:
            return frame
        self._shown = frame
        named = {*frame.unfollow, *(each.track_id for each in frame.follow)}
        again = [Followed(number, Prompt(box=box)) for number, box in self._again.items() if number not in named]
        # After the frame's own, so that errors name the places in the client's message.
        return replace(frame, follow=(*frame.follow, *again))

    def hear(self, frame: VideoFrame, message: SegmentVideoResponse) -> None:
        """Take the answer to a frame, and add objects that the worker does not know to its lost ones."""
        if self._meaning is None:
            return
        if message.dropped:
            self._ended.update(frame.unfollow)
            return
        if not message.HasField("answer"):
            self._failed(frame, message)
            return
        began = {each.track_id for each in frame.follow}
        for number in (self._ended | set(frame.unfollow)) - began:
            self._boxes.pop(number, None)
        self._ended.clear()
        if self._shown is not None:
            for segment in message.answer.segments:
                if segment.track_id in self._again.keys() - began:
                    segment.ClearField("prompt_index")  # the client sent no prompt for it
            self._again, self._shown = {}, None
        self._before = {number: box for number, box in self._boxes.items() if box is not None and number not in began}
        self._size = (message.answer.size.height, message.answer.size.width)
        unknown = self._boxes.keys() - set(message.lost)
        self._boxes |= dict.fromkeys(message.lost)
        for segment in message.answer.segments:
            x, y, wide, high = (segment.bbox.x, segment.bbox.y, segment.bbox.width, segment.bbox.height)
            self._boxes[segment.track_id] = (x, y, x + wide, y + high)
            unknown -= {segment.track_id}
        for number in unknown:
            self._boxes[number] = None
        message.lost.extend(sorted(unknown))

    def _failed(self, frame: VideoFrame, message: SegmentVideoResponse) -> None:
        """A failed frame shows nothing: the next one does, unless the objects themselves cannot be shown."""
        if frame is not self._shown:
            return
        self._shown = None
        own = len(frame.follow)
        places = [error.field.removeprefix("prompts.") for error in message.error.errors]
        if any(place.split(".")[0].isdigit() and int(place.split(".")[0]) >= own for place in places):
            self._boxes |= dict.fromkeys(self._again)
            self._again = {}


def _shifted(box: Box, before: Box, size: tuple[int, int]) -> Box:
    """A box shifted by its last motion, inside the frame; unchanged if that leaves nothing of it."""
    across, down = ((box[low] + box[low + 2] - before[low] - before[low + 2]) / 2 for low in (0, 1))
    left, right = (min(max(side + across, 0.0), float(size[1])) for side in (box[0], box[2]))
    top, bottom = (min(max(side + down, 0.0), float(size[0])) for side in (box[1], box[3]))
    return (left, top, right, bottom) if right - left >= 1 and bottom - top >= 1 else box
