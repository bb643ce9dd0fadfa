"""Which answers are finished by the thread that asks: short ones, of who asks alone about a known image.

To hand such a finish to a thread, its kernel's work to the one beside that, and the answer back would take a sixth of
the whole: each finds a core that knows nothing of it. Who asks is an event loop, so it is kept for a moment at most.
"""

from __future__ import annotations

import math
import threading

import torch

from lexiseg_service.worker.finish.first_askers import FirstAskers
from lexiseg_service.worker.job import AnyJob

MOMENT = 0.01  # seconds that are expected of it at most
MOST_PIXELS = 2**20
MOST_PROMPTS = 1


class AtOnce:
    """Safe from any thread."""

    def __init__(self, first_askers: FirstAskers) -> None:
        self._first_askers = first_askers
        self._here = threading.local()

    def may(self, job: AnyJob) -> bool:
        """Whether the calling thread, that of who asked, may finish a job; if so, it is ready to."""
        may = job.alone and self._takes_a_moment(job)
        if may and not getattr(self._here, "begun", False):
            torch.set_num_threads(1)  # on this thread: what torch does of it stays here
            self._here.begun = True
        return may

    def _takes_a_moment(self, job: AnyJob) -> bool:
        """Whether what takes long was made before, or is in the kernel, and little is left."""
        features = job.features
        # What is expected of a prompt is mostly what all about an image share, which is there.
        size = job.size.of_known_image()._replace(prompts=0)
        return (
            features is not None
            and job.loaded.segmenter.passes_side_by_side
            and job.writes_little
            and math.prod(features.size) <= MOST_PIXELS
            and job.size.prompts <= MOST_PROMPTS
            and not size.looks
            and not size.extra
            and size.seconds <= MOMENT
            and self._first_askers.has_been_asked(job)
        )
