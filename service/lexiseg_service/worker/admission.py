"""Admission of requests: a place in the bounded queue for each client, and an answer before the deadline.

There are two lanes, for small and large requests. The expected wait is the lane's mean time between two answers times
the requests ahead: the client's own, and as many of each other client's.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from contextlib import suppress

from lexiseg_service.errors import QueueFull, RateLimited, ServiceError
from lexiseg_service.image.header import read_header
from lexiseg_service.question.messages import WorkerRequest
from lexiseg_service.settings import Limits
from lexiseg_service.shares import Shares
from lexiseg_service.worker.job import AnyJob

LARGE = 50.0  # megapixels times classes and prompts
LARGE_IMAGE = 4.0  # megapixels
LEARNING = 0.1  # weight of the latest answer in the mean time between two
HEADROOM = 0.7  # of the time until the deadline; later requests of other clients take the rest
MAX_RETRY_SECONDS = 30


class Lane:
    """Accepted requests of one size that are not answered yet."""

    def __init__(self) -> None:
        self._in_flight: Counter[str] = Counter()
        self._interval = 0.0  # mean seconds between two answers, while there is something to answer
        self._last = 0.0

    @property
    def is_empty(self) -> bool:
        """Whether none is in flight."""
        return not self._in_flight

    @property
    def backlog(self) -> float:
        """Seconds until all of them are answered."""
        return self._interval * self._in_flight.total()

    def wait(self, source: str) -> float:
        """Seconds until one more request of a client would be answered; 0 if the lane is empty."""
        own = self._in_flight[source] + 1
        ahead = sum(min(held, own) for held in self._in_flight.values())
        return self._interval * (ahead + 1) if ahead else 0.0

    def enter(self, source: str) -> None:
        """Count an accepted request."""
        self._in_flight[source] += 1

    def leave(self, job: AnyJob, *, answered: bool) -> None:
        """Count an answered or abandoned request; a missed deadline is a lower bound of the time between answers."""
        now = time.monotonic()
        self._in_flight[job.source] -= 1
        if not self._in_flight[job.source]:
            del self._in_flight[job.source]
        seconds = now - max(self._last, job.accepted)
        if answered:
            self._interval += (LEARNING if self._interval else 1.0) * (seconds - self._interval)
            self._last = now
        elif now >= job.request.deadline:
            self._interval = max(self._interval, seconds)


class Admission:
    """Places and lanes of the requests in flight. Not thread-safe.

    Args:
        queue_limit: requests of one client while it is alone; several clients have half as many again.
        limits: of an image.
    """

    def __init__(self, queue_limit: int, limits: Limits) -> None:
        self._places = Shares("requests", queue_limit + (queue_limit + 1) // 2, 2 / 3)
        self._limits = limits
        self._lanes = {False: Lane(), True: Lane()}

    @property
    def has_small(self) -> bool:
        """Whether a small request is in flight."""
        return not self._lanes[False].is_empty

    def admit(self, job: AnyJob, size: tuple[int, int] | None) -> None:
        """Give a job its place and its lane.

        Args:
            job: not accepted yet.
            size: height and width of a kept image; None reads them from the request.

        Raises:
            QueueFull: there is no place, or the job would miss its deadline.
        """
        request = job.request
        height, width = size or self._size_of(request)
        megapixels = height * width / 1e6
        job.large_image = megapixels > LARGE_IMAGE
        job.large = megapixels * (len(request.vocabulary.classes) + len(request.prompts)) > LARGE
        lane = self._lanes[job.large]
        retry_seconds = min(MAX_RETRY_SECONDS, max(1, math.ceil(lane.backlog / 2)))
        wait, left = lane.wait(job.source), request.deadline - job.accepted
        if wait > HEADROOM * left > 0:
            raise QueueFull(
                f"the answer would take {wait:.0f} seconds, the deadline is in {left:.0f} seconds", retry_seconds
            )
        try:
            job.place = self._places.take(job.source)
        except (QueueFull, RateLimited) as refusal:
            raise QueueFull(refusal.detail, retry_seconds) from None
        lane.enter(job.source)

    def leave(self, job: AnyJob) -> None:
        """An admitted job is answered or abandoned."""
        if job.place is not None:
            job.place.release()
        answered = not job.answer.cancelled() and job.answer.exception() is None
        self._lanes[job.large].leave(job, answered=answered)

    def _size_of(self, request: WorkerRequest) -> tuple[int, int]:
        """Height and width; zeros where they are unknown, or the image will be refused."""
        if request.size is not None or request.image is None:
            return request.size or (0, 0)
        with suppress(ServiceError):
            return read_header(request.image, self._limits).size
        return 0, 0
