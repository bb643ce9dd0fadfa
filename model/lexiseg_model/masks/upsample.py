"""Upsample low-resolution class scores and take the arg-max, at a cost that hardly grows with the classes.

Bilinear upsampling stays within the range of the corners. So a class can win inside a tile of the picture only if its
highest corner there reaches the lowest corner of the best class. Only such classes are upsampled; the labels equal
those of the plain formulation (upsample all, arg-max). `lexiseg_model.kernel` does the same in one pass, by cells.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.device import widest_float
from lexiseg_model.kernel import calls as compiled
from lexiseg_model.kernel import library
from lexiseg_model.masks.bilinear import Axis, axes, axis
from lexiseg_model.masks.rle import LabelRuns
from lexiseg_model.types import LabelMap

SLACK = 1e-4  # of the scores: rounding must not lose a class
MIN_SCORE = -1e30  # replaces -inf: interpolation between infinite corners gives NaN
TILE = 64  # pixels of a tile's side on a CPU
ROOM = 1 << 24  # numbers of a strip, upsampled at a time on a GPU: 64 MB, and a few times that beside them
# (upsampled scores [k, R, W] or corners [K], indices of their rows) -> values that compete; monotonic in the score.
Worth = Callable[[Tensor, Tensor], Tensor]


class Winners(NamedTuple):
    """The label map and what its pixels are worth."""

    labels: LabelMap  # [H, W], the winning row of the scores: uint8 up to 256 rows, else uint16
    votes: NDArray[np.float64]  # [K], sum over a row's pixels of its probability among all rows
    probability: NDArray[np.float32] | None  # [H, W] of the winner, when asked for
    runs: LabelRuns | None = None  # of the labels, where they were found by torch


class Tile(NamedTuple):
    """Part of an output: its pixels and, along each axis, `cells` between which they are interpolated.

    `y`, `x`: the place among these cells of each pixel's lower one, and the weight of the next.
    """

    pixels: tuple[slice, slice]
    cells: tuple[slice, slice]
    y: tuple[Tensor, Tensor]
    x: tuple[Tensor, Tensor]


class Won(NamedTuple):
    """A tile of the output: the `best` worth and its row of the scores, [R, W] each, on the device of the scores."""

    tile: Tile
    best: Tensor
    winner: Tensor


@torch.inference_mode()
def winners(scores: Tensor, size: tuple[int, int], keep_probability: bool = False) -> Winners:
    """Bilinear upsampling (align_corners=False) and arg-max.

    Args:
        scores: [K, h, w] float32 logits; a row does not win at or next to a cell where it is -inf.
        size: (H, W) of the label map.
        keep_probability: also return the probability of every pixel's winner.

    Returns:
        Labels (ties go to the lower row), votes, and on request probabilities, at most 1: exp of the winner's upsampled
        logit minus the upsampled log-sum-exp of all rows.
    """
    if library.ready() and not scores.is_cuda:
        interpolation = axes((scores.shape[1], scores.shape[2]), size)
        return Winners(*compiled.winners(scores.float().numpy(force=True), interpolation, keep_probability))
    # By torch on the device of the scores: a GPU returns the label map and its runs, not all scores. Every pixel is
    # computed as by the kernel, sum by sum, so the labels are equal to the last bit.
    scores = scores.float().clamp_min(MIN_SCORE)
    n_rows, device = len(scores), scores.device
    normaliser = torch.logsumexp(scores, 0)[None]
    votes = torch.zeros(n_rows, dtype=widest_float(device), device=device)
    labels = torch.empty(size, dtype=torch.uint8 if n_rows <= 256 else torch.int32, device=device)
    probability = torch.empty(size, device=device) if keep_probability else None
    for tile, best, winner in contest(scores, size):
        share = (best - upsampled(normaliser[:, *tile.cells], tile)[0]).clamp_max_(0).exp_()
        votes.index_add_(0, winner.flatten(), share.flatten().to(votes.dtype))
        labels[tile.pixels] = winner.to(labels.dtype)
        if probability is not None:
            probability[tile.pixels] = share
    label_map: LabelMap = labels.cpu().numpy()
    if n_rows > 256:
        label_map = label_map.astype(np.uint16)
    shares = None if probability is None else probability.cpu().numpy()
    return Winners(label_map, votes.cpu().double().numpy(), shares, runs_of(labels))


@torch.inference_mode()
def contest(scores: Tensor, size: tuple[int, int], worth: Worth = lambda scores, rows: scores) -> Iterator[Won]:
    """Find the winner of each pixel after bilinear upsampling (align_corners=False), tile by tile.

    Args:
        scores: [K, h, w] float32; K is at least 1. -inf as for `winners`.
        size: (H, W) of the result.
        worth: maps scores to the values that compete.

    Returns:
        Tiles from top to bottom; ties go to the lower row of the scores.
    """
    scores = scores.clamp_min(MIN_SCORE)
    on_cpu = scores.device.type == "cpu"
    every = torch.arange(len(scores), device=scores.device)
    for tile in _tiles(scores, size, (TILE, TILE)) if on_cpu else strips(scores, size):
        rows, corners = every, scores[:, *tile.cells]
        if on_cpu:  # a GPU would wait for the answer
            highest, lowest = worth(corners.amax((1, 2)), every), worth(corners.amin((1, 2)), every)
            rows = (highest >= lowest.max() - SLACK).nonzero()[:, 0]
            corners = corners[rows]
        best, place = worth(upsampled(corners, tile), rows[:, None, None]).max(0)
        yield Won(tile, best, rows[place])


def runs_of(labels: Tensor) -> LabelRuns:
    """Runs of a label map [H, W], found on its device."""
    flat = labels.T.reshape(-1)
    begin = flat.new_ones(len(flat), dtype=torch.bool)
    torch.ne(flat[1:], flat[:-1], out=begin[1:])
    start = begin.nonzero()[:, 0]
    value = flat[start].to(torch.int32)
    end = start.new_full((1,), len(flat))
    size = (labels.shape[0], labels.shape[1])
    return LabelRuns(size, torch.cat([start, end]).cpu().numpy(), value.cpu().numpy())


def strips(scores: Tensor, size: tuple[int, int]) -> Iterator[Tile]:
    """Tiles of whole rows, from top to bottom, of which all maps [K, h, w] may be upsampled at once."""
    return _tiles(scores, size, (max(1, ROOM // (len(scores) * size[1])), size[1]))


def _tiles(scores: Tensor, size: tuple[int, int], side: tuple[int, int]) -> Iterator[Tile]:
    down, across = (
        [
            _interpolated(axis(cells, pixels), slice(first, first + step), scores.device)
            for first in range(0, pixels, step)
        ]
        for cells, pixels, step in zip(scores.shape[1:], size, side, strict=True)
    )
    for rows, upper, y in down:
        for columns, left, x in across:
            yield Tile((rows, columns), (upper, left), y, x)


def _interpolated(whole: Axis, pixels: slice, device: torch.device) -> tuple[slice, slice, tuple[Tensor, Tensor]]:
    """Pixels along an axis, the cells between which they are interpolated, and how."""
    low, weight = whole.low[pixels], whole.weight[pixels]
    cells = slice(int(low[0]), int(low[-1]) + 2)
    return pixels, cells, (torch.from_numpy(low - low[0]).to(device), torch.from_numpy(weight.copy()).to(device))


def upsampled(corners: Tensor, tile: Tile) -> Tensor:
    """Upsample a tile's cells [K, h, w] to [K, R, W]: rows first, then columns, one unfused product and sum each."""
    (y, down), (x, across) = tile.y, tile.x
    upper, lower = corners[:, y], corners[:, (y + 1).clamp_max(corners.shape[1] - 1)]
    rows = upper + down[:, None] * (lower - upper)
    left, right = rows[:, :, x], rows[:, :, (x + 1).clamp_max(corners.shape[2] - 1)]
    return left + across * (right - left)
