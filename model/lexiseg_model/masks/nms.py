"""Non-maximum suppression of masks, without a loop over pairs.

Masks are kept as bits. Few pairs overlap enough to be worth counting: counts per cell of 8 x 8 pixels bound what two
masks can share, and only pairs that could still suppress each other are counted, 64 pixels at a time. Computed on the
CPU.
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

BLOCK = 128  # masks compared at a time
PAIRS = 1024  # pairs counted at a time: 8 MB of bits for masks of 256 x 256
CELL = 8  # pixels of a cell's side, the bits of a byte
EPSILON = np.float32(1e-6)  # in both ratios, for empty masks

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
    """N masks: `words` [N, W] uint64 of their bits; `cells` [N, C] and `areas` [N], pixels in each cell and in all."""

    words: NDArray[np.uint64]
    cells: Floats
    areas: Floats


@torch.no_grad()
def suppress(masks: Tensor, scores: Tensor, rule: OverlapRule = OVERLAPS) -> Tensor:
    """Which masks stay, greedily by score.

    Mask j goes if a better one that stays, i, has |i & j| / |i | j| >= `rule.overlap`, or, where `rule.inside` is not
    None, |i & j| / |j| >= `rule.inside`.

    Args:
        masks: [N, h, w] bool.
        scores: [N]; of equal ones the first is better.
        rule: the two thresholds.

    Returns:
        [K] int64 indices on the device of the masks, best first.

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
    kept = [waiting[:0]]
    while len(waiting):
        # Within a block one after the other; then all that stay against all that wait.
        block, waiting = waiting[:BLOCK], waiting[BLOCK:]
        stays = block[_greedy(_suppressing(packed, block, block, rule))]
        waiting = waiting[~_suppressing(packed, stays, waiting, rule).any(0)]
        kept.append(stays)
    return torch.from_numpy(np.concatenate(kept)).to(masks.device)


def pack(masks: NDArray[np.bool_]) -> Packed:
    """[N, h, w] bool -> bits, with their counts; N is at least 1."""
    n, height, _ = masks.shape
    packed = np.pad(np.packbits(masks, axis=2), ((0, 0), (0, -height % CELL), (0, 0)))  # [N, h', w'] bytes
    counts = np.bitwise_count(packed).reshape(n, -1, CELL, packed.shape[2]).sum(2, dtype=np.float32)
    cells = counts.reshape(n, counts.shape[1] * counts.shape[2])
    return Packed(packed.reshape(n, packed.shape[1] * packed.shape[2]).view(np.uint64), cells, cells.sum(1))


def _suppressing(packed: Packed, better: Indices, worse: Indices, rule: OverlapRule) -> NDArray[np.bool_]:
    """[I, J]: whether a better mask suppresses a worse one."""
    cells, others = packed.cells[better], packed.cells[worse]
    # Two masks share no more than what one has in cells that the other is in, seen from either side.
    most = np.minimum(cells @ (others > 0).T.astype(np.float32), (cells > 0).astype(np.float32) @ others.T)
    areas, other_areas = packed.areas[better], packed.areas[worse]
    # Both ratios grow with what is shared, so pairs that fall short at most need no count.
    suppresses = _reaches(most, areas[:, None], other_areas[None], rule)
    i, j = suppresses.nonzero()
    for start in range(0, len(i), PAIRS):
        some = slice(start, start + PAIRS)
        both = packed.words[better[i[some]]] & packed.words[worse[j[some]]]
        shared = np.bitwise_count(both).sum(1, dtype=np.float32)
        suppresses[i[some], j[some]] = _reaches(shared, areas[i[some]], other_areas[j[some]], rule)
    return suppresses


def _reaches(shared: Floats, better: Floats, worse: Floats, rule: OverlapRule) -> NDArray[np.bool_]:
    """Whether shared pixels are enough, given the areas; float32 as published, for ratios that meet a threshold."""
    enough: NDArray[np.bool_] = shared / (better + worse - shared + EPSILON) >= np.float32(rule.overlap)
    if rule.inside is not None:
        enough |= shared / (worse + EPSILON) >= np.float32(rule.inside)
    return enough


def _greedy(suppressing: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which of a sorted block stay, [B]; `suppressing` [B, B]."""
    later = np.triu(suppressing, 1)
    stays = np.ones(len(later), bool)
    for index, goes in enumerate(later):
        if stays[index]:
            stays &= ~goes
    return stays
