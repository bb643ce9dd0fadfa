"""Labels and run lengths from logits, compiled: in one call."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.kernel.axes import Axes
from lexiseg_model.kernel.library import call, is_wide
from lexiseg_model.kernel.runs import MOST_CHARACTERS, encode_label_map, rles_of
from lexiseg_model.types import LabelMap, Rle

ROOMY = 8  # runs down a column, for which there is room at first; hardly a picture has as many

Outcome = tuple[LabelMap, NDArray[np.float64], NDArray[np.float32] | None, list[Rle] | None]


def outcome(
    logits: NDArray[np.float32],
    axes: Axes,
    n_classes: int,
    shares: tuple[float, float, float],
    most: int,
    *,
    keep_probability: bool,
    encode: bool,
) -> Outcome:
    """As `lexiseg_model.tasks.outcome.outcome`: labels [H, W], votes [K], and on request probabilities and run lengths.

    Votes are those of the classes; nobody's are all counted only where probabilities are asked for.

    Args:
        logits: [K, h, w], contiguous; changed where there are specks.
        axes: where the pixels lie between the cells.
        n_classes: how many of the rows are classes.
        shares: `area`, `part` and `least` of the rule for specks; nothing is one where the first is 0.
        most: regions, from which on specks stay.
        keep_probability: also give the probability of every pixel's winner.
        encode: also give the run lengths of the classes.
    """
    size = axes.size
    labels: LabelMap = np.empty(size, np.uint8 if len(logits) <= 256 else np.uint16)
    votes = np.zeros(len(logits))
    probability = np.empty(size, np.float32) if keep_probability else None
    room = MOST_CHARACTERS * (ROOMY * size[1] + n_classes) if encode else 0
    summaries, text = (np.empty((n_classes, 6), np.int64), np.empty(room, np.uint8)) if encode else (None, None)
    asked = (*logits.shape, n_classes, *map(float, shares), most, *axes.passed)
    wanted = (labels, is_wide(labels), probability, votes, summaries, text, room)
    needed = call("outcome", logits, *asked, *wanted)
    if summaries is None or text is None:
        return labels, votes, probability, None
    rles = rles_of(summaries, text, size) if needed <= room else encode_label_map(labels, n_classes)
    return labels, votes, probability, rles
