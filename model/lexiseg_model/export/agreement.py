"""How far two runtimes, or two number types, agree: the share of pixels that get the same label."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.masks.upsample import winners
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.types import LabelMap, Vocabulary
from lexiseg_model.vocabulary.rows import KnownRows
from lexiseg_model.vocabulary.scoring import score_vocabulary


def labeller(segmenter: Segmenter, vocabulary: Vocabulary) -> Callable[[NDArray[np.uint8]], LabelMap]:
    """A function from a photograph [H, W, 3] to its label map [H, W] by `segmenter`, as it computes at that time."""
    rows_of = KnownRows(segmenter)

    def label(photograph: NDArray[np.uint8]) -> LabelMap:
        plan = segmenter.plan(photograph)
        features = segmenter.assemble(plan, segmenter.encode_tiles(plan.tiles))
        return winners(score_vocabulary(segmenter, features, vocabulary, rows_of), plan.size).labels

    return label


def agreement(first: Sequence[LabelMap], second: Sequence[LabelMap]) -> float:
    """Share of pixels with equal labels, 0..1: the mean over photographs, large or small."""
    return float(np.mean([np.mean(a == b) for a, b in zip(first, second, strict=True)]))
