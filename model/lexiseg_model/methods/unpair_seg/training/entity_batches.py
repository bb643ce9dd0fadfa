"""Photographs and their entities, as stage two sees them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lexiseg_model.data.entities import SEPARATOR
from lexiseg_model.data.pairs.source import PairSource, Skipped, decode
from lexiseg_model.data.pairs.stream import Drawn
from lexiseg_model.errors import SampleError
from lexiseg_model.methods.unpair_seg.canvas import Canvas, drawn, lay_out


class EntityBatch(NamedTuple):
    """`images` uint8 [B, 3, S, S], each at the left top; where it lies, its entities, and what could not be read."""

    images: Tensor
    canvases: tuple[Canvas, ...]
    entities: tuple[tuple[str, ...], ...]
    skipped: tuple[Skipped, ...]


class EntityBatches:
    """Makes a batch of drawn pairs whose captions are entities."""

    def __init__(self, size: int, mirrored: float) -> None:
        self._size, self._mirrored = size, mirrored

    def __call__(self, pairs: Sequence[Drawn]) -> EntityBatch:
        canvases = tuple(lay_out((pair.image.shape[0], pair.image.shape[1]), self._size) for pair in pairs)
        images = [drawn(self._mirror(pair), canvas) for pair, canvas in zip(pairs, canvases, strict=True)]
        return EntityBatch(
            torch.from_numpy(np.stack(images)),
            canvases,
            tuple(tuple(pair.caption.split(SEPARATOR)) for pair in pairs),
            tuple(skipped for pair in pairs for skipped in pair.skipped),
        )

    def _mirror(self, pair: Drawn) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
        return pair.image[:, ::-1] if pair.random().random() < self._mirrored else pair.image


def one_by_one(source: PairSource, size: int) -> Iterator[EntityBatch]:
    """Every photograph as it is, in order, a batch of its own; what cannot be read is left out."""
    for part, n_pairs in enumerate(source.sizes):
        for index in range(n_pairs):
            try:
                pair = source.read(part, index)
                image = decode(pair)
            except SampleError:
                continue
            canvas = lay_out((image.shape[0], image.shape[1]), size)
            pixels = torch.from_numpy(drawn(image, canvas)[None])
            yield EntityBatch(pixels, (canvas,), (tuple(pair.captions[0].split(SEPARATOR)),), ())
