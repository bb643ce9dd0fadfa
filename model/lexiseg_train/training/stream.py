"""Numbered batches: batch n depends only on the seed and n, so a resumed run sees the same batches."""

from __future__ import annotations

import random as python_random
import signal
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from lexiseg_train.training.checkpoints import kept_random

WORKER_GRACE_SECONDS = 30  # lifetime of a worker after SIGTERM, while its run ends the step and saves

Batch = TypeVar("Batch")


class Stream(Dataset[Batch], ABC, Generic[Batch]):
    """Endless numbered batches, which can be made in any order, in any process."""

    seed: int

    @abstractmethod
    def make(self, number: int, random: np.random.Generator) -> Batch:
        """Make batch `number`, counted from 0 over the steps and processes of a run.

        `random` is seeded with the stream's seed and the number, as are Python's, numpy's and torch's generators.
        """

    def __getitem__(self, number: int) -> Batch:
        """Make one batch and restore the generators of the process."""
        random = np.random.default_rng([self.seed, number])
        seed = int(random.integers(2**32))
        with seeded(seed, seed, seed):
            return self.make(number, random)


@contextmanager
def seeded(for_python: int, for_numpy: int, for_torch: int) -> Iterator[None]:
    with kept_random(torch.device("cpu")):
        python_random.seed(for_python)
        np.random.seed(for_numpy)
        torch.default_generator.manual_seed(for_torch)
        yield


def loader(batches: Stream[Batch], workers: int, numbers: Iterable[int]) -> DataLoader[Batch]:
    """Load batches of these numbers in worker processes that end with this one; without workers in this one."""
    if workers:
        cv2.setNumThreads(1)  # ends its threads: a forked worker would wait for them for ever
    return DataLoader(
        batches,
        sampler=numbers,
        batch_size=None,
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        worker_init_fn=begin_worker if workers else None,
        # Explicit because Python 3.14 changes the default: packs stay mapped, and the run is the watched parent.
        multiprocessing_context="fork" if workers and sys.platform.startswith("linux") else None,
        # Otherwise every loader would draw a seed from the generator of the network's dropout.
        generator=torch.Generator().manual_seed(0),
    )


def begin_worker(worker: int) -> None:
    """Initialise a data worker; torch ends it when its parent process is gone."""
    # A terminal sends Ctrl-C to all processes; the run needs its workers until it has saved.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A shutdown sends SIGTERM to all; a worker that hangs must still end.
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(WORKER_GRACE_SECONDS))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
