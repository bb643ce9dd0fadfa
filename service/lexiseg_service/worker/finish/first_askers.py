"""Whoever asks first about an image makes what the others will use; these wait here, not on a thread.

What a method derives from an image's features (proposals, maps that prompts share) is made once, under a lock, in the
finish stage. Were all who ask about that image let through, each would take a finish thread to wait at that lock, and
nobody else's work would be done meanwhile, however long ago they were abandoned. Prompts need other things than the
rest and do not wait for it: of one image, at most two make something at a time.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from lexiseg_model.features import Derived
from lexiseg_model.types import Task
from lexiseg_service.worker.job import AnyJob


@dataclass
class _Image:
    """Of one image's features: tasks that were done once, who makes something now, and who waits for that."""

    done: set[Task] = field(default_factory=set)
    first: dict[bool, AnyJob] = field(default_factory=dict)  # of prompts, and of the rest
    waiting: deque[AnyJob] = field(default_factory=deque)


class FirstAskers:
    """Lets one job through for each image and task that was not done yet; safe to use from any thread."""

    def __init__(self) -> None:
        self._images: WeakKeyDictionary[Derived, _Image] = WeakKeyDictionary()
        self._guard = threading.Lock()

    def enter(self, job: AnyJob) -> bool:
        """Whether a job whose features are there may go on. If not, a `leave` will give it back."""
        if not _derives(job):
            return True
        with self._guard:
            image = self._images.setdefault(_derived_of(job), _Image())
            if _task(job) in image.done or image.first.setdefault(_prompts(job), job) is job:
                return True
            image.waiting.append(job)
            return False

    def has_been_asked(self, job: AnyJob) -> bool:
        """Whether all that a job needs of its image was made for another."""
        if not _derives(job):
            return True
        with self._guard:
            image = self._images.get(_derived_of(job))
            return image is not None and _task(job) in image.done

    def leave(self, job: AnyJob) -> list[AnyJob]:
        """A job that entered is over, however it ended; those who may go on now."""
        if not _derives(job):
            return []
        with self._guard:
            image = self._images[_derived_of(job)]
            if image.first.get(_prompts(job)) is not job:
                return []
            del image.first[_prompts(job)]
            if job.answer.done() and not job.answer.cancelled() and job.answer.exception() is None:
                image.done.add(_task(job))
            freed = [
                other
                for other in image.waiting
                if _task(other) in image.done or image.first.setdefault(_prompts(other), other) is other
            ]
            image.waiting = deque(other for other in image.waiting if other not in freed)
            return freed


def _prompts(job: AnyJob) -> bool:
    return job.request.task == "prompt" or bool(job.request.regions)


def _task(job: AnyJob) -> Task:
    """Regions of examples need what prompts need."""
    return "prompt" if job.request.regions else job.request.task


def _derives(job: AnyJob) -> bool:
    """Whether the model has masks of its own, and there are features that they would be kept with."""
    card = job.loaded.segmenter.card
    if job.features is None:
        return False
    return "prompt" in card.tasks or card.panoptic.source == "proposals"


def _derived_of(job: AnyJob) -> Derived:
    assert job.features is not None
    return job.features.derived
