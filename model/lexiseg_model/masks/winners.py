"""What an arg-max over upsampled scores gives, wherever it is made."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.masks.rle import LabelRuns
from lexiseg_model.types import LabelMap

MIN_SCORE = -1e30  # what -inf counts as: between infinite corners lies no number, between these one that never wins


class Winners(NamedTuple):
    """The label map and what its pixels are worth."""

    labels: LabelMap  # [H, W], the winning row of the scores: uint8 up to 256 rows, else uint16
    votes: NDArray[np.float64]  # [K], sum over a row's pixels of its probability among all rows
    probability: NDArray[np.float32] | None  # [H, W] of the winner, when asked for
    runs: LabelRuns | None = None  # of the labels, where they were found on a GPU
