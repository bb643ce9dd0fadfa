"""Whether a request is accepted: there is a place for its source, and it will be answered before its deadline.

Refusing at once is kinder than a deadline that passes: the client hears when to come again, and no thread works for
an answer that comes too late. Who would come too late even alone, at the best speed that the model has shown here,
hears that instead: coming again would not help.
"""

from __future__ import annotations

import math
import time
from contextlib import suppress

from lexiseg_model.segmenter import Segmenter
from lexiseg_service.errors import QueueFull, ServiceError, TooLarge
from lexiseg_service.image.header import read_header
from lexiseg_service.question.messages import WorkerRequest
from lexiseg_service.settings import Limits, Settings
from lexiseg_service.worker.costs.costs import Costs, missing_texts
from lexiseg_service.worker.costs.forecast import Expected, Forecast
from lexiseg_service.worker.costs.size import size_of
from lexiseg_service.worker.costs.speed import ORDINARY
from lexiseg_service.worker.decode import shortest_of
from lexiseg_service.worker.feature_cache import FeatureCache, Remembered
from lexiseg_service.worker.job import AnyJob
from lexiseg_service.worker.places import Places
from lexiseg_service.worker.texts.cache import TextCaches

SAMPLE = 64  # classes of a long list that are looked at


class Admission:
    """Knows what is in flight. Not for several threads at once."""

    def __init__(
        self, settings: Settings, text_caches: TextCaches, costs: Costs, forecast: Forecast, features: FeatureCache
    ) -> None:
        self._costs = costs
        self._features = features
        self._forecast = forecast
        self._places = Places(settings.queue_limit)
        self._limits = settings.limits
        self._text_caches = text_caches

    def admit(self, job: AnyJob, segmenter: Segmenter | None) -> None:
        """Gives a job its place, which is to be given back.

        Args:
            job: its size and what it is expected to take are set here.
            segmenter: of its model; None where that is not loaded. What a load takes nobody knows.

        Raises:
            QueueFull: there is no place, or the answer would come too late.
            TooLarge: it would come too late whenever it is asked for.
        """
        request = job.request
        missing = 0.0 if segmenter is None else self._missing(request, segmenter)
        speed = ORDINARY if segmenter is None else self._costs.speed_of(segmenter.digest)
        kept = self._kept(request)
        image_size = kept.features.size if kept else _size_of_image(request, self._limits)
        job.size = size_of(
            request,
            image_size,
            missing,
            speed,
            shortest=None if segmenter is None else shortest_of(segmenter.card),
            kept=kept.image if kept else None,
        )
        if segmenter is not None:
            seconds = self._costs.least_finish(segmenter.digest, job.size)
            _check_time(request, seconds, job.accepted, f"{math.prod(image_size) / 1e6:.1f} megapixels of")
        expected = job.expected = Expected(job.source, job.size)
        late = None if segmenter is None else self._forecast.wait(expected, request.deadline - job.accepted)
        if late is not None:
            seconds = self._forecast.seconds(expected)
            raise QueueFull(f"the answer would take {seconds:.0f} seconds, which is too near to the deadline", late)
        if not self._places.take(job.source):
            held = len(self._places)
            raise QueueFull(f"{held} requests are in flight, which is the limit", self._forecast.again(expected))
        if segmenter is not None:
            self._forecast.enter(expected)

    def check_tiles(self, job: AnyJob) -> None:
        """Once the plan of an admitted job is there.

        Raises:
            TooLarge: the image pass alone, and what comes after it, take longer than there was time.
            QueueFull: they take longer than there is time now, after a wait that was longer than expected.
        """
        digest = job.loaded.segmenter.digest
        seconds = self._costs.least_image(digest, job.n_tiles) + self._costs.least_finish(digest, job.size)
        _check_time(job.request, seconds, job.accepted, f"{job.n_tiles} tiles of")
        left = job.request.deadline - time.monotonic()
        if seconds > left > 0:
            detail = (
                f"the request waited longer than expected: {seconds:.1f} s or more are needed, {left:.1f} s are left"
            )
            raise QueueFull(detail, self._forecast.again(job.expected))

    def leave(self, job: AnyJob) -> None:
        """An admitted job is answered, or given up."""
        self._places.give_back(job.source)
        answered = not job.answer.cancelled() and job.answer.exception() is None
        self._forecast.leave(job.expected, held=job.held_seconds if answered else 0.0)

    def _kept(self, request: WorkerRequest) -> Remembered | None:
        """What is kept of an image of which only the id was sent: it is as large as when it came."""
        if request.image is not None or not request.image_id:
            return None
        return self._features.find_any(request.owner, request.image_id)

    def _missing(self, request: WorkerRequest, segmenter: Segmenter) -> float:
        classes = request.vocabulary.classes
        some = classes[:: max(1, len(classes) // SAMPLE)]
        if not some:
            return 0.0
        missing = missing_texts(segmenter.texts(some), self._text_caches.of(segmenter).is_known)
        return missing * len(classes) / len(some)


def _check_time(request: WorkerRequest, seconds: float, now: float, what: str) -> None:
    left = request.deadline - now
    if seconds > left > 0:
        classes, prompts = len(request.vocabulary.classes), len(request.prompts)
        raise TooLarge(
            f"{what} an image with {classes:,} classes and {prompts:,} prompts take {seconds:.1f} s or more here, "
            f"{left:.1f} s are left until the deadline; send a smaller image, or ask for less at a time"
        )


def _size_of_image(request: WorkerRequest, limits: Limits) -> tuple[int, int]:
    """Height and width; zeros where nobody knows, or where it will be refused."""
    if request.size is not None or request.image is None:
        return request.size or (0, 0)
    with suppress(ServiceError):
        return read_header(request.image, limits).size
    return 0, 0
