"""Arg-max of upsampled scores, compiled."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.kernel.axes import Axes
from lexiseg_model.kernel.library import call, is_wide
from lexiseg_model.types import LabelMap


def winners(
    scores: NDArray[np.float32], axes: Axes, keep_probability: bool
) -> tuple[LabelMap, NDArray[np.float64], NDArray[np.float32] | None]:
    """As `lexiseg_model.masks.upsample.winners`: labels [H, W], votes [K], and on request probabilities [H, W].

    Args:
        scores: [K, h, w].
        axes: where the pixels lie between the cells.
        keep_probability: also give the probability of every pixel's winner.
    """
    scores = np.ascontiguousarray(scores)
    labels: LabelMap = np.empty(axes.size, np.uint8 if len(scores) <= 256 else np.uint16)
    votes = np.zeros(len(scores))
    probability = np.empty(axes.size, np.float32) if keep_probability else None
    call("winners", scores, *scores.shape, *axes.passed, labels, is_wide(labels), probability, votes)
    return labels, votes, probability
