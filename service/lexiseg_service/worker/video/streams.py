"""All video streams of a worker: how many there are, what they hold, and how they end when the worker does."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from lexiseg_service.errors import DeadlineExceeded, MalformedRequest, NotReady
from lexiseg_service.question.stream_messages import FrameAnswer, StreamQuestion, VideoFrame
from lexiseg_service.settings import Settings
from lexiseg_service.shares import CLIENT_SHARE, Shares
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.worker.engine import Engine
from lexiseg_service.worker.models.pool import GOING_DOWN
from lexiseg_service.worker.video.asking_again import AskingAgain
from lexiseg_service.worker.video.frames import FrameLane
from lexiseg_service.worker.video.session import Session


class Streams:
    """Opens sessions on one engine; on one event loop."""

    def __init__(self, engine: Engine, settings: Settings, metrics: Metrics) -> None:
        self._engine = engine
        self._settings = settings
        self._metrics = metrics
        # A gateway ends a silent stream; this is for a gateway that vanished without a word.
        self._silence = 2 * settings.stream_idle_seconds
        self._places = Shares("video streams", settings.max_streams, CLIENT_SHARE)
        self._again = AskingAgain()
        self._waiting: set[asyncio.Timeout] = set()  # for what they are to do
        self._open: dict[Session, FrameLane] = {}
        self._leaving = False
        metrics.held("streams", lambda: sum(lane.nbytes for lane in tuple(self._open.values())))

    def __len__(self) -> int:
        return len(self._open)

    async def answers(self, steps: AsyncIterator[StreamQuestion | VideoFrame]) -> AsyncGenerator[FrameAnswer, None]:
        """Runs one stream, as `Backend.stream` describes it. It takes a place when it has said what it wants.

        Raises:
            QueueFull: this worker has as many as it may.
            RateLimited: whoever it is for has as many as one may.
            ServiceError: the stream as a whole failed.
        """
        question = await self._first(steps)
        if question is None:
            return
        with self._places.take(question.request.source):
            async with aclosing(self._answers(_again(question, steps))) as answers:
                async for answer in answers:
                    yield answer

    async def _answers(self, steps: AsyncIterator[StreamQuestion | VideoFrame]) -> AsyncGenerator[FrameAnswer, None]:
        lane = FrameLane(self._engine, f"stream:{uuid.uuid4().hex}", self._settings.deadline_seconds)
        session = Session(
            lane,
            self._again,
            self._settings.deadline_seconds,
            self._silence,
            lambda kind: self._metrics.frames.labels(kind).inc(),
        )
        self._open[session] = lane
        self._metrics.streams.inc()
        try:
            async with aclosing(session.answers(steps)) as answers:
                async for answer in answers:
                    yield answer
        finally:
            del self._open[session]
            self._metrics.streams.dec()

    async def _first(self, steps: AsyncIterator[StreamQuestion | VideoFrame]) -> StreamQuestion | None:
        """What a stream is to do; None where it ends before it says so."""
        if self._leaving:
            raise NotReady(GOING_DOWN)
        try:
            async with asyncio.timeout(self._silence) as patience:
                self._waiting.add(patience)
                try:
                    question = await anext(steps, None)
                finally:
                    self._waiting.discard(patience)
        except TimeoutError:
            if self._leaving:
                raise NotReady(GOING_DOWN) from None
            raise DeadlineExceeded(f"no config came for {self._silence:g} seconds; the video stream is ended") from None
        if isinstance(question, VideoFrame):
            raise MalformedRequest("the first message of a stream is a frame; expected a config")
        return question

    def leave(self) -> None:
        """The worker goes down: streams take nothing more, answer what they have, and end with `NotReady`."""
        self._leaving = True
        for patience in tuple(self._waiting):
            patience.reschedule(0)
        for session in tuple(self._open):
            session.leave(GOING_DOWN)


async def _again(
    first: StreamQuestion, steps: AsyncIterator[StreamQuestion | VideoFrame]
) -> AsyncIterator[StreamQuestion | VideoFrame]:
    yield first
    async for step in steps:
        yield step
        del step  # its frame would be kept for as long as the client is silent
