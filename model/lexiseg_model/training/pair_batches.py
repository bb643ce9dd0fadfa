"""Drawn pairs as the tensors of a training step, and by the number of the step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.data.pairs.source import PairSource, Skipped
from lexiseg_model.data.pairs.stream import Drawn, PairStream
from lexiseg_model.training.stream import Stream

Batch = TypeVar("Batch")
Views = Callable[[NDArray[np.uint8], np.random.Generator], Tensor]  # RGB [H, W, 3] -> normalised [3, S, S]


class PairBatch(NamedTuple):
    """`images` [B, 3, S, S], `tokens` [B, L] of one caption each, and the pairs that could not be read.

    `positions` are those of the pairs in the order of all draws of a run, whichever process draws them.
    """

    images: Tensor
    tokens: Tensor
    skipped: tuple[Skipped, ...]
    positions: tuple[int, ...]


class PairBatches:
    """Makes a batch of drawn pairs."""

    def __init__(self, views: Views, tokenize: Callable[[list[str]], Tensor]) -> None:
        self._views = views
        self._tokenize = tokenize

    def __call__(self, drawn: Sequence[Drawn]) -> PairBatch:
        return PairBatch(
            torch.stack([self._views(pair.image, pair.random()) for pair in drawn]),
            self._tokenize([pair.caption for pair in drawn]),
            tuple(skipped for pair in drawn for skipped in pair.skipped),
            tuple(pair.position for pair in drawn),
        )


class NumberedPairs(Stream[Batch], Generic[Batch]):
    """Batches of all processes of a run, numbered together: every pair comes once in an epoch, whoever asks."""

    def __init__(self, pairs: PairSource, make: Callable[[Sequence[Drawn]], Batch], batch: int, seed: int) -> None:
        """
        Args:
            pairs: what is drawn from.
            make: a batch of what was drawn.
            batch: pairs in one.
            seed: of the order, the captions and the views.

        Raises:
            DatasetError: there are no pairs.
        """
        super().__init__()
        self._pairs = PairStream(pairs, seed)
        self._make = make
        self._batch = batch
        self.seed = seed

    def make(self, number: int, random: np.random.Generator) -> Batch:
        cv2.setNumThreads(1)  # workers share the cores
        return self._make([self._pairs[draw] for draw in range(number * self._batch, (number + 1) * self._batch)])
