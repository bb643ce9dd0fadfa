"""Decoded pictures of jobs on their way: an overlay is painted on them in the last stage."""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.masks import overlay
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.worker.job import AnyJob

MOST_BYTES = 64 * 2**20


class WaitingPictures:
    """Pictures that wait to be painted on: up to so many bytes, safe to use from any thread.

    Hundreds of megabytes could lie in the queue otherwise. One for which there is no room is decoded once more when its
    turn to be painted on has come.
    """

    def __init__(self, metrics: Metrics, most: int = MOST_BYTES) -> None:
        self._most = most
        self._guard = threading.Lock()
        self._held: dict[AnyJob, int] = {}
        self.nbytes = 0
        metrics.held("pictures", lambda: self.nbytes)

    def keep(self, job: AnyJob, rgb: NDArray[np.uint8]) -> None:
        """Gives a job that wants an overlay what is needed of its picture, if there is room.

        Args:
            job: its `rgb` is set here, unless it is answered already.
            rgb: [h, w, 3], upright; kept at the width of an overlay.
        """
        if not job.request.overlay:
            return
        rgb = overlay.fitted(rgb)
        with self._guard:
            if self.nbytes + rgb.nbytes <= self._most and not job.answer.done():
                job.rgb, self._held[job] = rgb, rgb.nbytes
                self.nbytes += rgb.nbytes

    def leave(self, job: AnyJob) -> None:
        """The job is over."""
        with self._guard:
            self.nbytes -= self._held.pop(job, 0)
