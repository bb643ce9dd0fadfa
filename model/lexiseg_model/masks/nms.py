"""Non-maximum suppression of masks on the CPU, without a loop over pairs.

Masks are packed as bits. Counts per cell of 8 x 8 pixels bound the intersection of two masks; only pairs that could
suppress each other are counted exactly, 64 pixels at a time.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from lexiseg_model.errors import ShapeError
from lexiseg_model.types import StrictModel

BLOCK = 128  # masks compared in one step
PAIRS = 1024  # pairs counted in one step: 8 MB of bits for masks of 256 x 256
CELL = 8  # side of a cell in pixels, the bits of a byte
EPSILON = np.float32(1e-6)  # added to the denominators, for empty masks

Floats = NDArray[np.float32]
Indices = NDArray[np.int64]


class OverlapRule(StrictModel):
    """When a better mask suppresses another."""

    overlap: float = Field(0.5, gt=0, le=1, description="intersection over union from which the worse one goes")
    inside: float | None = Field(
        0.7, gt=0, le=1, description="share of the worse one inside the better from which it goes"
    )


OVERLAPS = OverlapRule()


class Packed(NamedTuple):
    """N packed masks: bits as `words` [N, W] uint64; pixel counts of `cells` [N, C] and of masks, `areas` [N]."""

    words: NDArray[np.uint64]
    cells: Floats
    areas: Floats


@torch.no_grad()
def suppress(masks: Tensor, scores: Tensor, rule: OverlapRule = OVERLAPS) -> Tensor:
    """Greedy non-maximum suppression by score.

    Mask j is suppressed if a kept better mask i has |i & j| / |i | j| >= `rule.overlap` or, unless `rule.inside` is
    None, |i & j| / |j| >= `rule.inside`.

    Args:
        masks: [N, h, w] bool.
        scores: [N]; ties go to the first.
        rule: the two thresholds.

    Returns:
        Indices [K] int64 of the kept masks on their device, best first.

    Raises:
        ShapeError: masks that are not bool [N, h, w], or not one score for each.
    """
    if masks.ndim != 3 or masks.dtype != torch.bool or scores.shape != masks.shape[:1]:
        raise ShapeError(
            f"expected bool masks [N, h, w] and scores [N], got {masks.dtype} {list(masks.shape)}, {list(scores.shape)}"
        )
    if not len(masks):
        return torch.zeros(0, dtype=torch.int64, device=masks.device)
    packed = pack(masks.cpu().numpy())
    waiting: Indices = scores.argsort(descending=True, stable=True).cpu().numpy()
    chosen = [waiting[:0]]
    while len(waiting):
        # Sequentially within a block, then all kept masks of the block against the rest.
        block, waiting = waiting[:BLOCK], waiting[BLOCK:]
        survivors = block[_greedy(_suppressing(packed, block, block, rule))]
        waiting = waiting[~_suppressing(packed, survivors, waiting, rule).any(0)]
        chosen.append(survivors)
    return torch.from_numpy(np.concatenate(chosen)).to(masks.device)


def pack(masks: NDArray[np.bool_]) -> Packed:
    """Pack masks [N, h, w] bool, N >= 1, as bits with pixel counts."""
    n, height, _ = masks.shape
    packed = np.pad(np.packbits(masks, axis=2), ((0, 0), (0, -height % CELL), (0, 0)))  # [N, h', w'] bytes
    counts = np.bitwise_count(packed).reshape(n, -1, CELL, packed.shape[2]).sum(2, dtype=np.float32)
    cells = counts.reshape(n, counts.shape[1] * counts.shape[2])
    return Packed(packed.reshape(n, packed.shape[1] * packed.shape[2]).view(np.uint64), cells, cells.sum(1))


def _suppressing(packed: Packed, better: Indices, worse: Indices, rule: OverlapRule) -> NDArray[np.bool_]:
    """Which better masks suppress which worse ones: [I, J] bool."""
    cells, others = packed.cells[better], packed.cells[worse]
    # Upper bound of the intersection: the pixels of one mask in cells that the other touches, from both sides.
    bound = np.minimum(cells @ (others > 0).T.astype(np.float32), (cells > 0).astype(np.float32) @ others.T)
    areas, other_areas = packed.areas[better], packed.areas[worse]
    # Both ratios grow with the intersection, so pairs whose bound is too low need no count.
    suppresses = _exceeds(bound, areas[:, None], other_areas[None], rule)
    i, j = suppresses.nonzero()
    for start in range(0, len(i), PAIRS):
        pairs = slice(start, start + PAIRS)
        both = packed.words[better[i[pairs]]] & packed.words[worse[j[pairs]]]
        shared = np.bitwise_count(both).sum(1, dtype=np.float32)
        suppresses[i[pairs], j[pairs]] = _exceeds(shared, areas[i[pairs]], other_areas[j[pairs]], rule)
    return suppresses


def _exceeds(shared: Floats, better: Floats, worse: Floats, rule: OverlapRule) -> NDArray[np.bool_]:
    """Whether intersections reach a threshold, given the areas; in float32 as published, which matters at equality."""
    suppresses: NDArray[np.bool_] = shared / (better + worse - shared + EPSILON) >= np.float32(rule.overlap)
    if rule.inside is not None:
        suppresses |= shared / (worse + EPSILON) >= np.float32(rule.inside)
    return suppresses


def _greedy(suppressing: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which masks of a block sorted by score are kept: [B] bool, from `suppressing` [B, B]."""
    later = np.triu(suppressing, 1)
    keep = np.ones(len(later), bool)
    for index, suppressed in enumerate(later):
        if keep[index]:
            keep &= ~suppressed
    return keep
