"""A backend of a few lines, whose answer is known."""

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from lexiseg_labels.answers import CacheUse, Timings
from lexiseg_model.cards import ModelCard
from lexiseg_model.types import Rle, Segment
from lexiseg_model.vocabulary.heads import UNKNOWN, Lesson
from lexiseg_service.question.backend import Exemplified, Health, Taught
from lexiseg_service.question.messages import WorkerAnswer, WorkerRequest
from lexiseg_service.question.streams import FrameAnswer, StreamQuestion, VideoFrame
from tests.model.stand_in import card

WARM = Health(True, True, "colours are warmed up")


def answer(*, overlay: bytes | None = None) -> WorkerAnswer:
    """One segment: the left half of a 4 x 4 image."""
    segment = Segment(1, "sky", 0, 0.91234567, Rle((4, 4), "088", 8, (0, 0, 2, 4)))
    timings = Timings(1.23456, 0.0, 0.0, 2.0, 3.0, 6.5)
    return WorkerAnswer(
        "abc",
        "colours",
        "digest",
        "semantic",
        (4, 4),
        (segment,),
        timings_ms=timings,
        cache=CacheUse(1, 2, False),
        overlay=overlay,
    )


@dataclass
class KnownBackend:
    """Answers what `answer()` says, or raises what it is told; `asked` holds every request."""

    asked: list[WorkerRequest] = field(default_factory=list)
    failure: Exception | None = None
    now: Health = WARM
    models: list[ModelCard] = field(default_factory=lambda: [card(tasks=("semantic", "panoptic", "prompt"))])
    changes: dict[str, Any] = field(default_factory=dict)  # of the answer
    weights: str = "digest"
    by_words: float = -1  # of a lesson's cell the logit by the words of its class: below zero they find nothing

    def health(self) -> Health:
        return self.now

    def cards(self) -> list[ModelCard]:
        return self.models

    def digest(self, name: str) -> str | None:
        return self.weights if self.now.ready else None

    async def segment(self, request: WorkerRequest) -> WorkerAnswer:
        self.asked.append(request)
        if self.failure:
            raise self.failure
        return replace(answer(), **self.changes)

    async def exemplify(self, request: WorkerRequest) -> Exemplified:
        """A row for each region: its place in the request."""
        self.asked.append(request)
        if self.failure:
            raise self.failure
        rows = tuple(np.full(4, number, np.float16).tobytes() for number in range(len(request.regions)))
        kept = (b"small", tuple(shown.region for shown in request.regions)) if request.keep_picture else (b"", ())
        return Exemplified("abc", "digest", rows, *kept)

    async def teach(self, request: WorkerRequest) -> Taught:
        """A lesson of two cells: of the first region whose class is known, and of none."""
        self.asked.append(request)
        if self.failure:
            raise self.failure
        names = tuple(entry.name for entry in request.vocabulary.classes)
        known = [index for index in request.region_classes or () if index != UNKNOWN]
        first = next(iter(known), len(names))
        cells = np.array([[1, 0, 1], [0, 1, 1]], np.float16)
        text = np.full((2, len(names)), -1, np.float16)
        text[0, first : first + 1] = self.by_words
        lesson = Lesson(
            self.weights,
            names,
            cells,
            np.array([first, len(names)], np.int16),
            np.full(2, 0.5, np.float32),
            text,
        )
        return Taught(request.image_id or "abc", self.weights, lesson.to_bytes())

    async def stream(self, steps: AsyncIterator[StreamQuestion | VideoFrame]) -> AsyncGenerator[FrameAnswer, None]:
        async for step in steps:
            if isinstance(step, VideoFrame):
                yield FrameAnswer(step.id, step.timestamp_us, answer())
            elif self.failure:
                raise self.failure

    async def start(self) -> None: ...

    async def close(self) -> None: ...


@dataclass
class SlowBackend(KnownBackend):
    """Answers when it is told to; says when it is reached, and when its work is given up."""

    may_go_on: asyncio.Event = field(default_factory=asyncio.Event)
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    n_reached: int = 0

    async def segment(self, request: WorkerRequest) -> WorkerAnswer:
        self.n_reached += 1
        self.reached.set()
        try:
            await self.may_go_on.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return await super().segment(request)


@dataclass
class GatedBackend(KnownBackend):
    """Answers so many questions, each after a turn of the event loop, and holds the next ones until it is opened."""

    open_for: float = 0
    waiting: int = 0
    held: threading.Event = field(default_factory=threading.Event)

    async def segment(self, request: WorkerRequest) -> WorkerAnswer:
        self.waiting += 1
        await asyncio.sleep(0.005)
        while len(self.asked) >= self.open_for:
            self.held.set()
            await asyncio.sleep(0.005)
        self.waiting -= 1
        return await super().segment(request)
