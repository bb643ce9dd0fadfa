"""Label maps of photographs by a segmenter, and the pixels on which they agree."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.masks.upsample import winners
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.types import LabelMap, Refinement, Vocabulary
from lexiseg_model.vocabulary.bank import KnownRows
from lexiseg_model.vocabulary.scoring import score_vocabulary


def labeller(
    segmenter: Segmenter, vocabulary: Vocabulary, refine: Refinement = "none"
) -> Callable[[NDArray[np.uint8]], LabelMap]:
    """A function from a photograph [H, W, 3] to its map [H, W] of winning rows, by the segmenter as it is at that time.

    Rows are the classes, and with a background a last one for that.
    """
    rows_of = KnownRows(segmenter)

    def label(photograph: NDArray[np.uint8]) -> LabelMap:
        features = segmenter.encode(photograph)
        return winners(score_vocabulary(segmenter, features, vocabulary, rows_of, refine), features.size).labels

    return label


def mean_share(first: Sequence[LabelMap], second: Sequence[LabelMap]) -> float:
    """Share of pixels with equal labels, 0..1: the mean over photographs, large or small."""
    return float(np.mean([np.mean(a == b) for a, b in zip(first, second, strict=True)]))
