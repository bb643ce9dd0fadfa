"""Drawn pairs as the tensors of a training step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.data.pairs.source import Skipped
from lexiseg_model.data.pairs.stream import Drawn

Views = Callable[[NDArray[np.uint8], np.random.Generator], Tensor]  # RGB [H, W, 3] -> normalised [3, S, S]


class PairBatch(NamedTuple):
    """`images` [B, 3, S, S], `tokens` [B, L] of one caption each, and the pairs that could not be read."""

    images: Tensor
    tokens: Tensor
    skipped: tuple[Skipped, ...]


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
        )
