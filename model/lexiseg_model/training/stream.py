"""Batches by number: the n-th batch of a run is the same whatever was drawn before it, and by how many processes."""

from __future__ import annotations

import random as python_random
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from itertools import count
from typing import Generic, TypeVar

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset

from lexiseg_model.training.processes.workers import begin_worker

Batch = TypeVar("Batch")


class Stream(IterableDataset[Batch], ABC, Generic[Batch]):
    """An endless stream whose batches can be made in any order."""

    seed: int

    @abstractmethod
    def make(self, number: int, random: np.random.Generator) -> Batch:
        """The batch of that number, counted from 0 over the steps and the processes of a run.

        Args:
            number: of the batch.
            random: to draw from; the same for the same seed and number. Python's, numpy's and torch's own
                generators are seeded alike.
        """

    def __iter__(self) -> Iterator[Batch]:
        return (self.numbered(number) for number in count())

    def numbered(self, number: int) -> Batch:
        """The batch of that number; generators of the process stand afterwards where they stood."""
        random = np.random.default_rng([self.seed, number])
        python, old = python_random.getstate(), np.random.get_state()
        with torch.random.fork_rng(devices=[]):
            seed = int(random.integers(2**32))
            python_random.seed(seed)
            np.random.seed(seed)
            torch.default_generator.manual_seed(seed)
            made = self.make(number, random)
        python_random.setstate(python)
        np.random.set_state(old)
        return made


class _Numbered(Dataset[Batch]):
    def __init__(self, stream: Stream[Batch]) -> None:
        self._stream = stream

    def __getitem__(self, number: int) -> Batch:
        return self._stream.numbered(number)


def loader(batches: IterableDataset[Batch], workers: int, numbers: Iterable[int]) -> DataLoader[Batch]:
    """Batches, made in processes of their own that end with this one.

    Args:
        batches: a `Stream`, or any stream that begins where the run is.
        workers: processes; 0 makes batches in this one.
        numbers: of the batches of a `Stream`, in order.
    """
    numbered = isinstance(batches, Stream)
    return DataLoader(
        _Numbered(batches) if isinstance(batches, Stream) else batches,
        sampler=numbers if numbered else None,
        batch_size=None,
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        worker_init_fn=begin_worker() if workers else None,
        # Said, since Python 3.14 takes another: packs stay mapped, and the run is the parent whose end is watched.
        multiprocessing_context="fork" if workers and sys.platform.startswith("linux") else None,
        # Its own: else every loader would draw a seed from the generator that the network's dropout draws from.
        generator=torch.Generator().manual_seed(0),
    )
