"""Where a gateway sends its work: the one seam between what is outside and what computes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from model.types import ModelCard
from service.messages import WorkerAnswer, WorkerRequest


@dataclass(frozen=True)
class Health:
    """`ready` once a model is warmed up; `degraded` names what works less well than it should."""

    alive: bool
    ready: bool
    detail: str
    degraded: tuple[str, ...] = ()


class Backend(Protocol):
    """A worker in this process, or a way to workers elsewhere."""

    def health(self) -> Health: ...

    def cards(self) -> list[ModelCard]: ...

    def digest(self, name: str) -> str | None:
        """Digest of a loaded model's weights; None while it is not loaded."""
        ...

    async def segment(self, request: WorkerRequest) -> WorkerAnswer:
        """Answers one request. Cancelling the task abandons the work.

        Raises:
            ServiceError: of any kind.
        """
        ...

    async def start(self) -> None: ...

    async def close(self) -> None: ...
