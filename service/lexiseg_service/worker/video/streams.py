"""All video streams of a worker: how many there are, what they hold, and how they end when the worker does."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from lexiseg_service.errors import NotReady, QueueFull
from lexiseg_service.question.stream_messages import FrameAnswer, StreamQuestion, VideoFrame
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.worker.engine import Engine
from lexiseg_service.worker.models.pool import GOING_DOWN
from lexiseg_service.worker.video.frames import FrameLane
from lexiseg_service.worker.video.session import Session


class Streams:
    """Opens sessions on one engine; on one event loop."""

    def __init__(self, engine: Engine, settings: Settings, metrics: Metrics) -> None:
        self._engine = engine
        self._settings = settings
        self._metrics = metrics
        self._open: dict[Session, FrameLane] = {}
        self._leaving = False
        metrics.held("streams", lambda: sum(lane.nbytes for lane in tuple(self._open.values())))

    def __len__(self) -> int:
        return len(self._open)

    async def answers(self, steps: AsyncIterator[StreamQuestion | VideoFrame]) -> AsyncGenerator[FrameAnswer, None]:
        """Runs one stream, as `Backend.stream` describes it.

        Raises:
            QueueFull: this worker has as many as it may.
            ServiceError: the stream as a whole failed.
        """
        if self._leaving:
            raise NotReady(GOING_DOWN)
        if len(self._open) >= self._settings.max_streams:
            raise QueueFull(f"{len(self._open)} video streams are open, which is the limit of this worker", 5)
        lane = FrameLane(self._engine, f"stream:{uuid.uuid4().hex}", self._settings.deadline_seconds)
        session = Session(
            lane,
            self._settings.deadline_seconds,
            # A gateway ends a silent stream; this is for a gateway that vanished without a word.
            2 * self._settings.stream_idle_seconds,
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

    def leave(self) -> None:
        """The worker goes down: streams take nothing more, answer what they have, and end with `NotReady`."""
        self._leaving = True
        for session in tuple(self._open):
            session.leave(GOING_DOWN)
