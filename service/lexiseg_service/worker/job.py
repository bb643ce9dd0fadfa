"""One request on its way through the stages."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.features import Features, Plan, TileFeatures
from lexiseg_model.segmenter import Segmenter
from lexiseg_service.errors import DeadlineExceeded, ServiceError
from lexiseg_service.question.messages import WorkerRequest
from lexiseg_service.shares import Hold
from lexiseg_service.watch.tracing import StageTime
from lexiseg_service.worker.models.loaded import Loaded
from lexiseg_service.worker.refusals import refusal_of
from lexiseg_service.worker.texts.cache import TextCache
from lexiseg_service.worker.texts.memory import TextRows

T = TypeVar("T")


@dataclass(eq=False)
class Job(Generic[T]):
    """The request, what the stages have made of it so far, and when. `render` is its last stage."""

    request: WorkerRequest
    render: Callable[[Job[T], Segmenter, TextCache], T]
    answer: Future[T] = field(default_factory=Future)
    accepted: float = field(default_factory=time.monotonic)
    place: Hold | None = None
    large: bool = False  # its finish takes long
    large_image: bool = False  # its decoding takes long
    image: bytes = b""  # encoded; of the request, or remembered
    image_id: str = ""
    from_cache: bool = False
    decode_seconds: float = 0.0
    planned: float = 0.0
    computed: float = 0.0
    image_seconds: float = 0.0  # of the batches that it was part of
    reading_seconds: float = 0.0  # in the text stage
    text_seconds: float = 0.0  # for texts in the last stage
    rgb: NDArray[np.uint8] | None = None
    model: Loaded | None = None  # held until the answer is there
    plan: Plan | None = None
    parts: dict[int, TileFeatures] = field(default_factory=dict)  # encoded so far, by their first tile
    features: Features | None = None
    texts: list[str] = field(default_factory=list)  # that the text stage is to get
    rows: TextRows = field(default_factory=dict)  # that it has got
    fresh: set[str] = field(default_factory=set)  # those of them that were in no cache
    stages: list[StageTime] = field(default_factory=list)  # those that are over

    @property
    def loaded(self) -> Loaded:
        assert self.model is not None
        return self.model

    @property
    def source(self) -> str:
        """Who takes turns with others in every stage: a client."""
        return self.request.source or self.request.owner

    @property
    def flow(self) -> str:
        """What takes turns with others of the same source, as a stream."""
        return self.request.flow

    @property
    def tiles(self) -> NDArray[np.uint8]:
        assert self.plan is not None
        return self.plan.tiles

    @property
    def n_tiles(self) -> int:
        return len(self.tiles)

    @property
    def key(self) -> tuple[Loaded, tuple[int, int]]:
        """Model and bucket: what must be equal in one batch."""
        assert self.plan is not None
        return self.loaded, self.plan.bucket

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
        """Answers with an error, unless the client has gone; what the model refuses is the request's wrong value."""
        refusal = refusal_of(error, self.request)
        if isinstance(refusal, ServiceError):
            refusal = refusal.with_traceback(None)  # its frames would keep the image; nobody prints them
        with suppress(InvalidStateError):
            self.answer.set_exception(refusal)

    def succeed(self, answer: T) -> None:
        """Answers, unless the client has gone."""
        with suppress(InvalidStateError):
            self.answer.set_result(answer)


Render = Callable[[Job[T], Segmenter, TextCache], T]
AnyJob = Job[Any]  # for stages that do not look at the answer
