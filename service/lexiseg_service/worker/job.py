"""One request on its way through the stages, and the error that its client sees."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from structlog.contextvars import bound_contextvars

from lexiseg_model.errors import OptionError, PromptError, ShapeError, TaskError
from lexiseg_model.features import Features, Plan, TileFeatures
from lexiseg_model.segmenter import Segmenter
from lexiseg_service.errors import DeadlineExceeded, InvalidValue, NotReady, ServiceError
from lexiseg_service.question.messages import WorkerRequest
from lexiseg_service.shares import Hold
from lexiseg_service.watch.tracing import StageTime
from lexiseg_service.worker.models.loaded import Loaded
from lexiseg_service.worker.texts.rows import Lookup, TextCache

T = TypeVar("T")


@dataclass(eq=False)
class Job(Generic[T]):
    """A request, the results of the stages so far, and their times. `render` is its last stage."""

    request: WorkerRequest
    render: Callable[[Job[T], Segmenter, TextCache], T]
    after: Future[Any] | None = None  # its last stage waits for this: the answer to the stream's frame before
    answer: Future[T] = field(default_factory=Future)
    accepted: float = field(default_factory=time.monotonic)
    place: Hold | None = None
    large: bool = False  # takes long to finish
    large_image: bool = False  # takes long to decode
    image: bytes = b""  # encoded; from the request or from the feature cache
    image_id: str = ""
    from_cache: bool = False
    decode_seconds: float = 0.0
    planned: float = 0.0
    computed: float = 0.0
    image_seconds: float = 0.0  # of the batches that it was part of
    text_stage_seconds: float = 0.0
    text_seconds: float = 0.0  # for texts in the last stage
    rgb: NDArray[np.uint8] | None = None
    model: Loaded | None = None  # held until the answer is there
    plan: Plan | None = None
    parts: dict[int, TileFeatures] = field(default_factory=dict)  # encoded so far, by their first tile
    features: Features | None = None
    texts: list[str] = field(default_factory=list)  # of its vocabulary
    texts_are_known: bool = True  # their rows are in memory, so that the text stage is skipped
    lookup: Lookup | None = None  # the text stage's result
    stages: list[StageTime] = field(default_factory=list)  # those that have ended

    @property
    def loaded(self) -> Loaded:
        assert self.model is not None
        return self.model

    @property
    def source(self) -> str:
        """The client, between whom every stage is fair."""
        return self.request.source or self.request.owner

    @property
    def flow(self) -> str:
        """One of the client's streams or its single images, between which the device is fair."""
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
        """Model and bucket: equal for all jobs of a batch."""
        assert self.plan is not None
        return self.loaded, self.plan.bucket

    @property
    def log_fields(self) -> dict[str, str | None]:
        """Fields of every log line about the request."""
        request = self.request
        return {"request_id": request.request_id, "key_id": request.owner or None} if request.request_id else {}

    @property
    def abandoned(self) -> bool:
        """Whether the client has gone or the deadline has passed; the latter is then the answer."""
        if self.answer.done():
            return True
        if time.monotonic() > self.request.deadline:
            self.fail(DeadlineExceeded("the deadline passed while the request waited"))
            return True
        return False

    def run(self, stage: Callable[[Job[T]], None]) -> None:
        """Run one stage, unless the job is abandoned; an exception is this job's answer."""
        # The model is held once more: the client may leave meanwhile, and release it.
        with self.loaded.held(), bound_contextvars(**self.log_fields):
            if self.abandoned:
                return
            try:
                stage(self)
            except Exception as error:
                self.fail(error)

    def fail(self, error: BaseException) -> None:
        """Answer with an error, unless the client has gone; a model's refusal is an invalid value of the request."""
        refusal = client_error(error, self.request)
        if isinstance(refusal, ServiceError):
            refusal = refusal.with_traceback(None)  # its frames would keep the image in memory
        with suppress(InvalidStateError):
            self.answer.set_exception(refusal)

    def succeed(self, answer: T) -> None:
        """Answer, unless the client has gone."""
        with suppress(InvalidStateError):
            self.answer.set_result(answer)


Render = Callable[[Job[T], Segmenter, TextCache], T]
AnyJob = Job[Any]  # for stages that do not look at the answer


def client_error(error: BaseException, request: WorkerRequest) -> BaseException:
    """The error that the client of a request sees.

    A TaskError concerns the task, whatever the card says of it, and an OptionError the refinement where the request
    asks for one. Any other error stays as it is: no other value in the request would avoid it.
    """
    if request.regions and isinstance(error, TaskError | OptionError | ShapeError):
        field = request.regions[0].field
        return InvalidValue.of(field, "an example", f"a region that {request.model} can use ({error})")
    if any(entry.shown is not None for entry in request.vocabulary.classes):
        if isinstance(error, TaskError) and "by example" in str(error):
            return InvalidValue.of("classes", "examples", f"words alone ({error})")
        if isinstance(error, OptionError) and "examples" in str(error):
            return NotReady("the model changed while the examples were encoded; send the request again")
    if isinstance(error, PromptError):
        return InvalidValue.of(error.field, error.value, error.expected)
    if isinstance(error, TaskError):
        return InvalidValue.of("task", request.task, f"a task that {request.model} can do on this image ({error})")
    if isinstance(error, OptionError) and request.refine not in (None, "none"):
        return InvalidValue.of("refine", request.refine, f"none, or nothing ({error})")
    return error
