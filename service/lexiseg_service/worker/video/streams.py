"""All video streams of a worker: their number, their memory, and their end when the worker goes down."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from weakref import WeakValueDictionary

from lexiseg_service.errors import DeadlineExceeded, MalformedRequest, NotReady
from lexiseg_service.question.messages import FrameAnswer, StreamQuestion, VideoFrame
from lexiseg_service.settings import STREAM_IDLE_SECONDS, Settings
from lexiseg_service.shares import CLIENT_SHARE, Shares
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.worker.engine import Engine
from lexiseg_service.worker.models.pool import GOING_DOWN
from lexiseg_service.worker.video.session import Session

MAX_STREAMS = 64  # open at a time


class Streams:
    """Opens sessions on one engine; on one event loop."""

    def __init__(self, engine: Engine, settings: Settings, metrics: Metrics) -> None:
        self._engine = engine
        self._settings = settings
        self._metrics = metrics
        self._silence = 2 * STREAM_IDLE_SECONDS
        self._places = Shares("video streams", MAX_STREAMS, CLIENT_SHARE)
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()  # by client
        self._waiting: set[asyncio.Timeout] = set()  # of streams without a config yet
        self._open: set[Session] = set()
        self._leaving = False
        metrics.held("streams", lambda: sum(session.state.nbytes for session in tuple(self._open)))

    def __len__(self) -> int:
        return len(self._open)

    async def answers(self, steps: AsyncIterator[StreamQuestion | VideoFrame]) -> AsyncGenerator[FrameAnswer, None]:
        """Run one stream, as `Backend.stream` describes it. It takes a place once its config has come.

        Raises:
            QueueFull: this worker has as many streams as it may.
            RateLimited: this client has as many as one may.
            ServiceError: the stream as a whole failed.
        """
        question = await self._first(steps)
        if question is None:
            return
        with self._places.take(question.request.source):
            async with aclosing(self._answers(_chained(question, steps))) as answers:
                async for answer in answers:
                    yield answer

    async def _answers(self, steps: AsyncIterator[StreamQuestion | VideoFrame]) -> AsyncGenerator[FrameAnswer, None]:
        session = Session(
            self._engine, self._settings, self._lock_of, lambda kind: self._metrics.frames.labels(kind).inc()
        )
        self._open.add(session)
        self._metrics.streams.inc()
        try:
            async with aclosing(session.answers(steps)) as answers:
                async for answer in answers:
                    yield answer
        finally:
            self._open.discard(session)
            self._metrics.streams.dec()

    async def _first(self, steps: AsyncIterator[StreamQuestion | VideoFrame]) -> StreamQuestion | None:
        """The config of a stream; None if it ends before."""
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

    def _lock_of(self, client: str) -> asyncio.Lock:
        return self._locks.setdefault(client, asyncio.Lock())

    def leave(self) -> None:
        """Go down: streams read nothing more, answer what they have read, and end with `NotReady`."""
        self._leaving = True
        for patience in tuple(self._waiting):
            patience.reschedule(0)
        for session in tuple(self._open):
            session.leave(GOING_DOWN)


async def _chained(
    first: StreamQuestion, steps: AsyncIterator[StreamQuestion | VideoFrame]
) -> AsyncIterator[StreamQuestion | VideoFrame]:
    yield first
    async for step in steps:
        yield step
        del step  # or a silent client would keep a frame in memory
