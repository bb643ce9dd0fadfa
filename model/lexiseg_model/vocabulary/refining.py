"""Refinement of logits by what is known of the image's cells."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

MIN_LOG_PROBABILITY = -20.0
MARGIN = 1e-3  # logits by which a row that must not win stays below; exceeds any rounding


def refine_logits(logits: Tensor, refine: Callable[[Tensor], Tensor]) -> Tensor:
    """Refine the probabilities of the rows that win some cell; other rows could not win afterwards.

    The other rows share the remaining probability equally, capped so that they do not win. Logits [K, h, w] become [K,
    H, W], as `refine` makes probabilities [k, H, W] of such [k, h, w].
    """
    probability = logits.softmax(0)
    winning = torch.bincount(logits.argmax(0).flatten(), minlength=len(logits)).nonzero()[:, 0]
    refined = refine(probability[winning])
    result = refined.new_empty(len(logits), *refined.shape[1:])
    winning_logits = refined.clamp_min(math.exp(MIN_LOG_PROBABILITY)).log()
    if len(winning) < len(logits):
        rest = (1 - refined.sum(0)) / (len(logits) - len(winning))
        result[:] = torch.minimum(rest.clamp_min(math.exp(MIN_LOG_PROBABILITY)).log(), _losing_logits(winning_logits))
    result[winning] = winning_logits
    return result


def _losing_logits(logits: Tensor) -> Tensor:
    """Logits [h, w] for another row that loses to [K, h, w] at all pixels, also after bilinear interpolation.

    Between four pixels a row never falls below its lowest of the four.
    """
    lowest = -F.max_pool2d(-logits, 2, 1, padding=1)  # [K, h + 1, w + 1], the outermost of edge pixels only
    bound: Tensor = -F.max_pool2d(-lowest.amax(0)[None], 2, 1)[0]
    return bound - MARGIN
