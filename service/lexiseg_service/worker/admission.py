"""Whether a request is accepted: there is a place for its source, and it will be answered before its deadline.

Refusing at once is kinder than a deadline that passes: the client hears when to come again, and no thread works for
an answer that comes too late.
"""

from __future__ import annotations

from contextlib import suppress

from lexiseg_model.segmenter import Segmenter
from lexiseg_service.errors import QueueFull, ServiceError
from lexiseg_service.image.header import read_header
from lexiseg_service.question.messages import WorkerRequest
from lexiseg_service.settings import Limits, Settings
from lexiseg_service.worker.costs import missing_texts, size_of
from lexiseg_service.worker.forecast import Expected, Forecast
from lexiseg_service.worker.job import AnyJob
from lexiseg_service.worker.places import Places
from lexiseg_service.worker.texts.caches import TextCaches

SAMPLE = 64  # classes of a long list that are looked at


class Admission:
    """Knows what is in flight. Not for several threads at once."""

    def __init__(self, settings: Settings, text_caches: TextCaches, forecast: Forecast) -> None:
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
        """
        request = job.request
        missing = 0.0 if segmenter is None else self._missing(request, segmenter)
        job.size = size_of(request, _pixels_of(request, self._limits), missing)
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

    def leave(self, job: AnyJob) -> None:
        """An admitted job is answered, or given up."""
        self._places.give_back(job.source)
        answered = not job.answer.cancelled() and job.answer.exception() is None
        self._forecast.leave(job.expected, done=answered)

    def _missing(self, request: WorkerRequest, segmenter: Segmenter) -> float:
        classes = request.vocabulary.classes
        some = classes[:: max(1, len(classes) // SAMPLE)]
        if not some:
            return 0.0
        missing = missing_texts(segmenter.texts(some), self._text_caches.of(segmenter).is_known)
        return missing * len(classes) / len(some)


def _pixels_of(request: WorkerRequest, limits: Limits) -> int:
    """Of the image; 0 where nobody knows, or where it will be refused."""
    if request.pixels is not None or request.image is None:
        return request.pixels or 0
    with suppress(ServiceError):
        height, width = read_header(request.image, limits).size
        return height * width
    return 0
