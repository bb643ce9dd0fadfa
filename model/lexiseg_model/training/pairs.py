"""Batches of image-caption pairs for training, and two views of a pair source: shrunk, and mismatched as a control."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.data.pairs.source import PairSource, Rewritten, Skipped, StoredPair, decode
from lexiseg_model.data.pairs.stream import Drawn, PairStream
from lexiseg_model.training.stream import Stream

JPEG_QUALITY = 92  # of shrunk photographs
MAX_BYTES = 1 << 30  # of shrunk photographs kept in memory

Batch = TypeVar("Batch")
Views = Callable[[NDArray[np.uint8], np.random.Generator], Tensor]  # RGB [H, W, 3] -> normalised [3, S, S]


class PairBatch(NamedTuple):
    """A batch of pairs.

    Attributes:
        images: [B, 3, S, S].
        tokens: [B, L], one caption each.
        skipped: pairs that could not be read.
        positions: of the pairs in the order of all draws of a run, over all processes.
    """

    images: Tensor
    tokens: Tensor
    skipped: tuple[Skipped, ...]
    positions: tuple[int, ...]


class PairBatches:
    """Turns drawn pairs into a batch."""

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
    """Batches numbered over all processes: every pair comes once in an epoch."""

    def __init__(self, pairs: PairSource, make: Callable[[Sequence[Drawn]], Batch], batch: int, seed: int) -> None:
        """Draw pairs in a shuffled order.

        Args:
            pairs: what is drawn from.
            make: turns drawn pairs into a batch.
            batch: pairs in one.
            seed: of order, captions and views.

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


@dataclass
class Shrunk(Rewritten):
    """Pairs with photographs of at most `side` pixels on their shorter side, kept in memory as long as there is `room`.

    Short runs see each photograph many times, and decoding large ones would dominate.
    """

    side: int
    room: int = MAX_BYTES
    _kept: dict[int, StoredPair] = field(default_factory=dict)

    def read(self, index: int) -> StoredPair:
        if (kept := self._kept.get(index)) is not None:
            return kept
        pair = self._shrunk(self.source.read(index))
        if len(pair.photograph) <= self.room:
            self.room -= len(pair.photograph)
            self._kept[index] = pair
        return pair

    def _shrunk(self, pair: StoredPair) -> StoredPair:
        image = decode(pair)
        height, width = image.shape[:2]
        scale = min(1.0, self.side / min(height, width))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = cv2.cvtColor(cv2.resize(image, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2BGR)
        written = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
        return pair._replace(photograph=written.tobytes())


@dataclass
class Mismatched(Rewritten):
    """A control: each photograph with the captions of another one. Figures that stem from words must not rise.

    Attributes:
        others: [n] whose captions the n-th photograph gets, counted over all parts.
    """

    others: NDArray[np.int64]

    @classmethod
    def of(cls, source: PairSource, seed: int) -> Mismatched:
        """Permute captions so that no photograph keeps its own."""
        circle = np.random.default_rng(seed).permutation(sum(source.sizes))
        others = np.empty_like(circle)
        others[circle] = np.roll(circle, 1)
        return cls(source, others)

    def read(self, index: int) -> StoredPair:
        captions = self.source.read(int(self.others[index])).captions
        return self.source.read(index)._replace(captions=captions)
