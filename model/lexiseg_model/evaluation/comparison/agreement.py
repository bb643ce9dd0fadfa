"""Agreement of two models on photographs without labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.errors import SampleError
from lexiseg_model.masks.upsample import winners
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.types import LabelMap, Vocabulary
from lexiseg_model.vocabulary.rows import KnownRows
from lexiseg_model.vocabulary.scoring import score_vocabulary

MAX_SWAPS = 3  # reported for a photograph
NOBODY = 0  # in a map of labels; classes count from 1


@dataclass(frozen=True)
class Swap:
    """Pixels with label `a` by A and `b` by B; labels count classes from 1, 0 is nobody."""

    a: int
    b: int
    pixels: int


@dataclass(frozen=True)
class Agreement:
    """Share of a photograph's pixels with the same label, and the largest swaps."""

    path: Path
    pixels: int
    share: float
    swaps: tuple[Swap, ...]


def label(segmenter: Segmenter, image: NDArray[np.uint8], vocabulary: Vocabulary, rows_of: KnownRows) -> LabelMap:
    """Labels [H, W] uint16 of a photograph [H, W, 3], 0 for nobody."""
    features = segmenter.encode(image)
    logits = score_vocabulary(segmenter, features, vocabulary, rows_of, segmenter.card.refine)
    n_classes = len(vocabulary.classes)
    values = np.arange(1, n_classes + 1)
    if vocabulary.background is not None:
        values = np.append(values, NOBODY)  # the last row is nobody
    return values.astype(np.uint16)[winners(logits, features.size).labels]


def label_all(
    segmenter: Segmenter,
    photographs: Sequence[Path],
    vocabulary: Vocabulary,
    read: Callable[[Path], NDArray[np.uint8]],
    keep: Callable[[Path, LabelMap], object],
    on_photograph: Callable[[], object] = lambda: None,
) -> dict[Path, str]:
    """Label every photograph and pass the maps to `keep`; `read` gives pixels [H, W, 3] or raises SampleError.

    Returns:
        Unreadable photographs with the reason.
    """
    rows_of, unread = KnownRows(segmenter), {}
    for path in photographs:
        try:
            keep(path, label(segmenter, read(path), vocabulary, rows_of))
        except SampleError as error:
            unread[path] = error.reason
        on_photograph()
    return unread


def agreement(path: Path, a: LabelMap, b: LabelMap) -> Agreement:
    """Compare two label maps [H, W] of one photograph."""
    differs = a != b
    # Two 16-bit labels in one number.
    pairs, counts = np.unique(a[differs].astype(np.uint32) << 16 | b[differs], return_counts=True)
    largest = np.argsort(-counts, kind="stable")[:MAX_SWAPS]
    swaps = tuple(Swap(int(pairs[i]) >> 16, int(pairs[i]) & 0xFFFF, int(counts[i])) for i in largest)
    return Agreement(path, a.size, 1 - float(differs.mean()), swaps)


class ClassOverlap:
    """Intersection and union of each label between two models, over all photographs."""

    def __init__(self, n_classes: int) -> None:
        self.a = np.zeros(n_classes + 1, np.int64)
        self.b = np.zeros(n_classes + 1, np.int64)
        self.both = np.zeros(n_classes + 1, np.int64)

    def add(self, a: LabelMap, b: LabelMap) -> None:
        """Add the maps of one photograph."""
        size = len(self.a)
        self.a += np.bincount(a.reshape(-1), minlength=size)
        self.b += np.bincount(b.reshape(-1), minlength=size)
        self.both += np.bincount(a[a == b], minlength=size)

    def iou(self, index: int) -> float | None:
        """IoU of a label, 0 to 1; None where neither model gave it."""
        union = self.a[index] + self.b[index] - self.both[index]
        return float(self.both[index] / union) if union else None
