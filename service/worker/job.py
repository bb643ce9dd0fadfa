"""One request on its way through the stages."""

from __future__ import annotations

import time
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from model.segmenter import Features, Plan
from service.errors import DeadlineExceeded
from service.messages import WorkerAnswer, WorkerRequest
from service.tracing import StageTime


@dataclass(eq=False)
class Job:
    """The request, what the stages have made of it so far, and when."""

    request: WorkerRequest
    answer: Future[WorkerAnswer] = field(default_factory=Future)
    accepted: float = field(default_factory=time.monotonic)
    image: bytes = b""  # encoded; of the request, or remembered
    image_id: str = ""
    from_cache: bool = False
    decode_seconds: float = 0.0
    planned: float = 0.0
    computed: float = 0.0
    image_seconds: float = 0.0
    rgb: NDArray[np.uint8] | None = None
    plan: Plan | None = None
    features: Features | None = None
    stages: list[StageTime] = field(default_factory=list)  # those that are over

    @property
    def who(self) -> dict[str, str | None]:
        """What every log line about the request carries."""
        request = self.request
        return {"request_id": request.request_id, "key_id": request.owner or None} if request.request_id else {}

    @property
    def abandoned(self) -> bool:
        """Nobody waits for the answer any more: the client has gone or the deadline passed."""
        if self.answer.done():
            return True
        if time.monotonic() > self.request.deadline:
            self.fail(DeadlineExceeded("the deadline passed while the request waited"))
            return True
        return False

    def fail(self, error: BaseException) -> None:
        """Answers with an error, unless the client has gone."""
        with suppress(InvalidStateError):
            self.answer.set_exception(error)

    def succeed(self, answer: WorkerAnswer) -> None:
        """Answers, unless the client has gone."""
        with suppress(InvalidStateError):
            self.answer.set_result(answer)
