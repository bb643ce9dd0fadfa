"""The fair thread pool of the worker's stages: each thread's work stays on one core."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import torch

from lexiseg_service.fair_executor import FairExecutor


def stage_executor(name: str, size: int, small_in_flight: Callable[[], bool] = lambda: False) -> FairExecutor:
    """As `FairExecutor`, for work of OpenCV and torch."""
    return FairExecutor(name, size, small_in_flight, initializer=_use_one_core)


def _use_one_core() -> None:
    """Keep this thread's work on it: threads of OpenCV and torch would compete with those of the stages."""
    cv2.setNumThreads(1)
    torch.get_num_threads()  # a thread's first use of torch takes the number set last anywhere; not after this one
    torch.set_num_threads(1)
