"""Batches of pairs by number: the n-th step of a run sees the same pairs whatever was drawn before it, and by whom."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

from torch.utils.data import IterableDataset, get_worker_info

from lexiseg_model.data.pairs.stream import Drawn, PairStream

Batch = TypeVar("Batch")


class DrawnBatches(IterableDataset[Batch], Generic[Batch]):
    """An endless stream of batches; worker processes take turns, so that their number changes nothing."""

    def __init__(self, pairs: PairStream, make: Callable[[Sequence[Drawn]], Batch], batch: int, first: int) -> None:
        """
        Args:
            pairs: of this process's rank.
            make: a batch of what was drawn.
            batch: pairs in one.
            first: how many pairs this rank drew before.
        """
        super().__init__()
        self._pairs, self._make, self._batch, self._first = pairs, make, batch, first

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        turn, turns = (0, 1) if worker is None else (worker.id, worker.num_workers)
        while True:
            first = self._first + turn * self._batch
            yield self._make([self._pairs[draw] for draw in range(first, first + self._batch)])
            turn += turns
