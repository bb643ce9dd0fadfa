"""The interface between gateway and workers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Protocol

from lexiseg_model.cards import ModelCard
from lexiseg_model.types import Region
from lexiseg_service.errors import NotReady
from lexiseg_service.question.messages import WorkerAnswer, WorkerRequest
from lexiseg_service.question.streams import FrameAnswer, StreamQuestion, VideoFrame

POLL_SECONDS = 0.02


@dataclass(frozen=True)
class Health:
    """Health of a backend. `ready` once the default model is warmed up; `degraded` names what does not work fully."""

    alive: bool
    ready: bool
    detail: str
    degraded: tuple[str, ...] = ()
    away: tuple[str, ...] = ()  # known models that no worker can answer for now
    # NAME@VERSION of models with a first load that is under way, or just failed; requests for them wait.
    awaited: tuple[str, ...] = ()


@dataclass(frozen=True)
class Exemplified:
    """Embeddings of regions of one image, one row of fp16 each, and the digest of the model's weights.

    If it was asked for, also a small picture (JPEG) at the input size of the model, and the same regions in it.
    """

    image_id: str
    digest: str
    rows: tuple[bytes, ...] = field(repr=False)
    picture: bytes = field(default=b"", repr=False)
    regions: tuple[Region, ...] = ()


@dataclass(frozen=True)
class Taught:
    """The lesson of one reviewed image, and the digest of the model's weights."""

    image_id: str
    digest: str
    lesson: bytes = field(repr=False)


class Backend(Protocol):
    """A worker, or a connection to workers."""

    def health(self) -> Health: ...

    def cards(self) -> list[ModelCard]:
        """Cards of all models, loaded or not; the first is the default."""
        ...

    def digest(self, name: str) -> str | None:
        """Digest of a loaded model's weights, NAME or NAME@VERSION; None while it is not loaded."""
        ...

    async def segment(self, request: WorkerRequest) -> WorkerAnswer:
        """Answer one request; cancelling the task cancels the work."""
        ...

    async def exemplify(self, request: WorkerRequest) -> Exemplified:
        """Embed the regions of a request in its image; of its question only the model counts."""
        ...

    async def teach(self, request: WorkerRequest) -> Taught:
        """Make the lesson of a reviewed image; the classes that were looked for are the request's vocabulary."""
        ...

    def stream(self, steps: AsyncIterator[StreamQuestion | VideoFrame]) -> AsyncGenerator[FrameAnswer, None]:
        """Answer the frames of one video in order. The first step is a question; a later question replaces it.

        Takes only as many steps as the question's frames in flight allow (backpressure). Ends when the steps end and
        all frames are answered; closing the answers (`aclose`) cancels the work and frees the stream's state.
        """
        ...

    async def start(self) -> None: ...

    async def close(self) -> None: ...


async def until_ready(backend: Backend, is_up: Callable[[], bool] = lambda: True) -> None:
    """Wait until a backend of this process is ready, and what else is needed is up."""
    while True:
        health = backend.health()
        if not health.alive:
            raise NotReady(health.detail)
        if is_up() and health.ready:
            return
        await asyncio.sleep(POLL_SECONDS)
