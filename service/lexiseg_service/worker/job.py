"""A request on its way through the stages, and admission by place in the queue and by expected wait.

Three lanes separate small requests, large ones and background ones, which are all served last and have places
of their own. The expected wait is the lane's mean time between two answers times the
number of requests ahead: the client's own, and at most as many of every other client. An accepted request that has not
begun when half of its time is over is refused after all: the rest is for its work.
"""

from __future__ import annotations

import math
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Generic, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from structlog.contextvars import bound_contextvars

from lexiseg_model.errors import (
    ExamplesError,
    FieldError,
    ForeignExamplesError,
    ForeignLessonError,
    OptionError,
    ShapeError,
    TaskError,
    TeachingError,
)
from lexiseg_model.features import Features, InferenceOptions, Plan, TileFeatures
from lexiseg_model.pictures.colours import Note
from lexiseg_service.errors import (
    DeadlineExceeded,
    InvalidValue,
    ModelChanged,
    NotReady,
    QueueFull,
    RateLimited,
    ServiceError,
)
from lexiseg_service.fair_queue import Sender
from lexiseg_service.question.messages import WorkerRequest
from lexiseg_service.shares import Hold, Shares
from lexiseg_service.watch.tracing import StageTime
from lexiseg_service.worker.models.pool import Loaded

T = TypeVar("T")
RowsByText = dict[str, bytes]  # text -> row [D] of little-endian fp16
LARGE_WORK = 50.0  # megapixels times the number of classes and prompts
LARGE_IMAGE = 4.0  # megapixels
AVERAGE_WEIGHT = 0.1  # weight of the latest answer in the mean time between two
MAX_WAIT_SHARE = 0.5  # of the time until the deadline
MAX_RETRY_SECONDS = 30
Lanes = Literal["small", "large", "background"]
LANES: tuple[Lanes, ...] = ("small", "large", "background")


@dataclass
class Lookup:
    """Rows by text, and the distinct texts that are still to be fetched or encoded."""

    texts: list[str]  # as asked for, with repetitions
    rows: RowsByText
    missing: list[str]
    misses: int  # distinct texts that no cache had; for an API key the ones that it had not sent before

    def rows_of(self, texts: list[str]) -> NDArray[np.float16]:
        """Rows [len(texts), D] of at least one text, in the order of the texts."""
        return np.frombuffer(bytearray().join([self.rows[text] for text in texts]), "<f2").reshape(len(texts), -1)


@dataclass(eq=False, repr=False)
class Job(Generic[T]):
    """A request, the results of the stages so far, and their times. `render` is its last stage."""

    request: WorkerRequest
    render: Callable[[Job[T]], T]
    after: Future[Any] | None = None  # the last stage waits for it: the answer to the previous frame of the stream
    answer: Future[T] = field(default_factory=Future)
    accepted: float = field(default_factory=time.monotonic)
    place: Hold | None = None
    large: bool = False  # takes long to decode or to finish, or may wait for all others
    image: bytes = b""  # encoded; from the request or from the feature cache
    image_id: str = ""
    from_cache: bool = False
    planned: float = 0.0
    computed: float = 0.0
    rgb: NDArray[np.uint8] | None = None
    notes: tuple[Note, ...] = ()  # what the decoder of the image had to guess
    loaded: Loaded = field(init=False)  # its model, set before the first stage; held until the answer is there
    plan: Plan = field(init=False)  # only if it needs an image pass
    # Encoded so far, by their first tile: a pass that is tried again after out-of-memory replaces its part.
    parts: dict[int, TileFeatures] = field(default_factory=dict)
    tiles_taken: int = 0  # in batches so far
    features: Features | None = None
    lookup: Lookup = field(default_factory=lambda: Lookup([], {}, [], 0))  # of the texts of its vocabulary
    stages: list[StageTime] = field(default_factory=list)  # ended ones
    source: str = field(init=False)  # the client, between whom every stage is fair
    # Its client, and one of the client's streams or its single images: the device is fair between flows.
    sender: Sender = field(init=False)

    def __post_init__(self) -> None:
        request = self.request
        self.source = request.source or request.owner
        self.sender = Sender(self.source, request.flow, request.background)

    @property
    def lane(self) -> Lanes:
        return "background" if self.request.background else "large" if self.large else "small"

    @property
    def n_tiles(self) -> int:
        return len(self.plan.tiles)

    @cached_property
    def options(self) -> InferenceOptions:
        """Of the image pass that the request needs."""
        request = self.request
        learned = [entry.learned for entry in request.vocabulary.classes if entry.learned is not None]
        teaches, longest = request.region_classes is not None, max((len(each.direction) for each in learned), default=0)
        fine = teaches or longest > 4 * (self.loaded.segmenter.card.teaching_size or 0)
        return InferenceOptions(request.max_side, teaches or longest > 0, fine)

    @property
    def key(self) -> tuple[Loaded, tuple[int, int], bool]:
        """Model, bucket, and whether it teaches: equal for all jobs of a batch."""
        return self.loaded, self.plan.bucket, self.plan.teaching

    def seconds_by_stage(self) -> defaultdict[str, float]:
        """Time in the runs of each stage that have ended, else 0; of `image`, in the batches that it was part of."""
        seconds: defaultdict[str, float] = defaultdict(float)
        for stage, began, ended in self.stages:
            seconds[stage] += ended - began
        return seconds

    @property
    def log_fields(self) -> dict[str, str | None]:
        request = self.request
        return {"request_id": request.request_id, "key_id": request.owner or None} if request.request_id else {}

    @property
    def abandoned(self) -> bool:
        """Whether the client has gone or the deadline has passed; a passed deadline becomes the answer."""
        if self.answer.done():
            return True
        if time.monotonic() > self.request.deadline:
            self.fail(DeadlineExceeded("the deadline passed while the request waited"))
            return True
        return False

    def run(self, stage: Callable[[Job[T]], None]) -> None:
        """Run one stage, unless the job is abandoned; an exception is this job's answer."""
        # Hold the model: if the client leaves during the stage, its own hold is released.
        with self.loaded.hold(), bound_contextvars(**self.log_fields):
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


Render = Callable[[Job[T]], T]
AnyJob = Job[Any]  # for stages that do not look at the answer


class Lane:
    """Accepted requests of one kind that are not answered yet."""

    def __init__(self) -> None:
        self.in_flight: Counter[str] = Counter()  # requests by client
        self._interval = 0.0  # mean seconds between two answers, while there is something to answer
        self._last = 0.0

    @property
    def retry_seconds(self) -> int:
        """Seconds until half of them are answered, for `Retry-After`."""
        return min(MAX_RETRY_SECONDS, max(1, math.ceil(self._interval * self.in_flight.total() / 2)))

    def wait(self, source: str) -> float:
        """Seconds until one more request of a client would be answered; 0 if the lane is empty."""
        n_own = self.in_flight[source] + 1
        ahead = sum(min(count, n_own) for count in self.in_flight.values())
        return self._interval * (ahead + 1) if ahead else 0.0

    def leave(self, job: AnyJob, *, has_answer: bool) -> None:
        """Count an answered or abandoned request; a missed deadline is a lower bound of the time between answers."""
        now = time.monotonic()
        self.in_flight[job.source] -= 1
        if not self.in_flight[job.source]:
            del self.in_flight[job.source]
        seconds = now - max(self._last, job.accepted)
        if has_answer:
            self._interval += (AVERAGE_WEIGHT if self._interval else 1.0) * (seconds - self._interval)
            self._last = now
        elif now >= job.request.deadline:
            self._interval = max(self._interval, seconds)


class Admission:
    """Places and lanes of the requests in flight; background work has a quarter of one client's. Not thread-safe."""

    def __init__(self, queue_limit: int) -> None:
        self._places = Shares("requests", queue_limit + (queue_limit + 1) // 2, 2 / 3)
        self._background_places = Shares("requests in the background", max(1, queue_limit // 4), 1)
        self._lanes = {name: Lane() for name in LANES}

    @property
    def has_small(self) -> bool:
        return bool(self._lanes["small"].in_flight)

    def admit(self, job: AnyJob, size: tuple[int, int] | None) -> None:
        """Give a job its place and its lane; an image of unknown `size` (height, width) counts as small."""
        request = job.request
        height, width = size or (0, 0)
        megapixels = height * width / 1e6
        work = megapixels * (len(request.vocabulary.classes) + len(request.prompts))
        job.large = request.background or megapixels > LARGE_IMAGE or work > LARGE_WORK
        lane = self._lanes[job.lane]
        wait, left = lane.wait(job.source), request.deadline - job.accepted
        if wait > MAX_WAIT_SHARE * left > 0:
            raise QueueFull(
                f"the answer would take {wait:.0f} seconds, the deadline is in {left:.0f} seconds", lane.retry_seconds
            )
        try:
            job.place = (self._background_places if request.background else self._places).take(job.source)
        except (QueueFull, RateLimited) as refusal:
            raise QueueFull(refusal.detail, lane.retry_seconds) from None
        lane.in_flight[job.source] += 1

    def check_wait(self, job: AnyJob, since: float) -> None:
        """Check that a job that begins its work now has not waited too long since a time of time.monotonic()."""
        wait, seconds = time.monotonic() - since, job.request.deadline - since
        if wait > MAX_WAIT_SHARE * seconds:
            detail = f"the request waited for {wait:.0f} seconds, of {seconds:.0f} until its deadline"
            raise QueueFull(detail, self._lanes[job.lane].retry_seconds)

    def leave(self, job: AnyJob) -> None:
        """Release the place and lane of an admitted job that is answered or abandoned."""
        if job.place is not None:
            job.place.release()
        has_answer = not job.answer.cancelled() and job.answer.exception() is None
        self._lanes[job.lane].leave(job, has_answer=has_answer)


def client_error(error: BaseException, request: WorkerRequest) -> BaseException:
    """The error that a client sees for an error of the model; ones that no change of the request avoids stay."""
    if request.region_classes is not None and isinstance(error, TeachingError):
        return InvalidValue.because(request.regions[0].field if request.regions else "pictures", str(error))
    if request.region_classes is not None and isinstance(error, TaskError | OptionError):
        return InvalidValue.of("model", request.model, f"a model that can be taught so ({error})")
    if request.regions and isinstance(error, TaskError | OptionError | ShapeError):
        field = request.regions[0].field
        return InvalidValue.of(field, "an example", f"a region that {request.model} can use ({error})")
    if any(entry.is_taught for entry in request.vocabulary.classes) and isinstance(
        error, ForeignLessonError | TaskError
    ):
        return ModelChanged(f"head: {error}")
    if any(entry.shown is not None for entry in request.vocabulary.classes):
        if isinstance(error, ExamplesError):
            return InvalidValue.of("classes", "examples", f"words alone ({error})")
        if isinstance(error, ForeignExamplesError):
            return NotReady("the model changed while the examples were encoded; send the request again")
    if isinstance(error, FieldError):
        return InvalidValue.of(error.field, error.value, error.expected)
    if isinstance(error, TaskError):
        return InvalidValue.of("task", request.task, f"a task that {request.model} can do on this image ({error})")
    if isinstance(error, OptionError) and request.refine not in (None, "none"):
        return InvalidValue.of("refine", request.refine, f"none, or nothing ({error})")
    return error
