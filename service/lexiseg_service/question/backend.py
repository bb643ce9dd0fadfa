"""Where a gateway sends its work: the one seam between what is outside and what computes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from lexiseg_model.types import ModelCard
from lexiseg_service.question.messages import (
    Exemplified,
    FrameAnswer,
    StreamQuestion,
    VideoFrame,
    WorkerAnswer,
    WorkerRequest,
)


@dataclass(frozen=True)
class Health:
    """`ready` once the default model is warmed up; `degraded` names what works less well than it should."""

    alive: bool
    ready: bool
    detail: str
    degraded: tuple[str, ...] = ()
    away: tuple[str, ...] = ()  # models that are known, and that nobody could answer for now
    # NAME@VERSION of those that were never in memory and are on their way, or failed just now: who asks waits.
    awaited: tuple[str, ...] = ()


class Backend(Protocol):
    """A worker in this process, or a way to workers elsewhere."""

    def health(self) -> Health: ...

    def cards(self) -> list[ModelCard]:
        """Of all models that can be asked, loaded or not; the first is the default."""
        ...

    def digest(self, name: str) -> str | None:
        """Digest of a loaded model's weights, NAME or NAME@VERSION; None while it is not loaded."""
        ...

    async def segment(self, request: WorkerRequest) -> WorkerAnswer:
        """Answers one request. Cancelling the task abandons the work.

        Raises:
            ServiceError: of any kind.
        """
        ...

    async def exemplify(self, request: WorkerRequest) -> Exemplified:
        """What the model makes of the regions of a request in its image; of its question only the model counts.

        Raises:
            ServiceError: of any kind.
        """
        ...

    def stream(self, steps: AsyncIterator[StreamQuestion | VideoFrame]) -> AsyncGenerator[FrameAnswer, None]:
        """Answers the frames of one video in their order. The first step is a question; a later one changes it.

        Takes as many steps as the question's frames in flight allow, so that whoever sends them waits. Ends when the
        steps do and all is answered; closing the answers (`aclose`) abandons the work and frees the stream's state.

        Raises:
            ServiceError: the stream as a whole failed. What is wrong with one frame stands in its answer.
        """
        ...

    async def start(self) -> None: ...

    async def close(self) -> None: ...
