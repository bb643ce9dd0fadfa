"""Give regions of an image the label that most of their pixels have."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

MAX_AT_FULL_SIZE = 2**27  # logits of classes x pixels: half a gigabyte


def majority_vote(logits: Tensor, regions: Tensor, size: tuple[int, int]) -> Tensor:
    """Give every region its majority label, by swapping logits where another label wins.

    Args:
        logits: [K, h, w].
        regions: [h', w'] integers, 0: no region.
        size: (H, W) of the image.

    Returns:
        Logits [K, H, W], or [K, h', w'] where that would be more than `MAX_AT_FULL_SIZE` numbers.
    """
    shape = size if len(logits) * math.prod(size) <= MAX_AT_FULL_SIZE else (regions.shape[0], regions.shape[1])
    logits = F.interpolate(logits[None], size=shape, mode="bilinear", align_corners=False)[0]
    regions = (
        F.interpolate(regions[None, None].cpu().double(), size=shape, mode="nearest")[0, 0].long().to(logits.device)
    )
    return put_first(logits, majority_labels(logits.argmax(0), regions, len(logits)))


def majority_labels(labels: Tensor, regions: Tensor, n_labels: int) -> Tensor:
    """Labels [h, w] in which each region has its majority label, the lowest in a tie; other cells keep theirs."""
    pairs = (regions * n_labels + labels).flatten()
    counts = torch.bincount(pairs, minlength=(int(regions.max()) + 1) * n_labels).view(-1, n_labels)
    return torch.where(regions > 0, counts.argmax(1)[regions], labels)


def put_first(logits: Tensor, winner: Tensor) -> Tensor:
    """Logits [K, h, w] in which the row `winner` [h, w] of a pixel has changed places with that of the highest."""
    best, first = logits.max(0)
    swapped = logits.gather(0, winner[None])
    return logits.scatter(0, first[None], swapped).scatter_(0, winner[None], best[None])
