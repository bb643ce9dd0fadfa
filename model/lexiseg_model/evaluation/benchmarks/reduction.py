"""From scores of queries to labels at the image's size, as in the protocols of the CLIP family.

Scores are resized first (bilinear, half-pixel centres). The softmax over all queries gives each its probability; a
class has that of its best query, which is compared with the threshold. TCL's constant background channel is another
rule for nobody.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

STRIP_VALUES = 1 << 24  # of float32 logits held at a time
# From logits [T, r, W] and their rows of the image to the logit that the best query must reach: [r, W], or [].
Nobody = Callable[[Tensor, slice], Tensor]


@dataclass(frozen=True)
class Reduction:
    """How queries become labels.

    Attributes:
        owner: [T] label of each query, ascending: a tie goes to the lower label.
        scale: factor of the scores before the softmax.
        nobody: a pixel whose best query is below it is label 0; None: every pixel gets a class.
        smallest_share: labels other than 0 with at most this share of the foreground lose their pixels.
    """

    owner: NDArray[np.int64]
    scale: float = 1.0
    nobody: Nobody | None = None
    smallest_share: float | None = None


def reduce_to_labels(scores: Tensor, size: tuple[int, int], reduction: Reduction) -> NDArray[np.uint16]:
    """Labels [H, W].

    Args:
        scores: [T', h, w] of T' >= T queries; rows after the owners' are only passed to `nobody`.
        size: (H, W) of the image.
        reduction: the rules.
    """
    asked = len(reduction.owner)
    dropped = (
        None if reduction.smallest_share is None else _too_small(scores, size, reduction, reduction.smallest_share)
    )
    labels = np.empty(size, np.uint16)
    owner = torch.from_numpy(reduction.owner).to(scores.device)
    for rows in _strips(len(scores), size):
        logits = reduction.scale * upsample_rows(scores, size, rows)
        competing = logits[:asked]
        if dropped is not None:
            competing = competing.masked_fill(dropped[:, None, None], -math.inf)
        best, winner = competing.max(0)
        won = owner[winner]
        if reduction.nobody is not None:
            won = torch.where(best < reduction.nobody(logits, rows), 0, won)
        labels[rows] = won.cpu().numpy()
    return labels


def upsample_rows(scores: Tensor, size: tuple[int, int], rows: slice) -> Tensor:
    """Rows of a bilinear upsampling (align_corners=False): [T, h, w] -> [T, r, W]."""
    height = scores.shape[1]
    position = (torch.arange(rows.start, rows.stop, device=scores.device, dtype=torch.float64) + 0.5) * height / size[0]
    position = (position - 0.5).clamp(0, height - 1)
    upper = position.floor().long()
    lower = (upper + 1).clamp_max(height - 1)
    weight = (position - upper).to(scores.dtype)[:, None]
    between = scores[:, upper] * (1 - weight) + scores[:, lower] * weight  # [T, r, w]
    return F.interpolate(between[None], (len(position), size[1]), mode="bilinear", align_corners=False)[0]


def _too_small(scores: Tensor, size: tuple[int, int], reduction: Reduction, share: float) -> Tensor:
    """[T] queries whose label wins too little of the foreground, before the background rule."""
    area = np.zeros(int(reduction.owner.max()) + 1)
    for rows in _strips(len(scores), size):
        winner = upsample_rows(scores, size, rows)[: len(reduction.owner)].argmax(0).cpu().numpy()
        area += np.bincount(reduction.owner[winner].reshape(-1), minlength=len(area))
    small = area <= share * area[1:].sum()
    small[0] = False
    return torch.from_numpy(small[reduction.owner]).to(scores.device)


def _strips(n_rows: int, size: tuple[int, int]) -> Iterator[slice]:
    step = max(1, STRIP_VALUES // (n_rows * size[1]))
    for start in range(0, size[0], step):
        yield slice(start, min(start + step, size[0]))
