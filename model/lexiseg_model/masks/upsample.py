"""Upsample low-resolution class scores and take the arg-max, at a cost that hardly grows with the classes.

Bilinear upsampling stays within the range of a pixel's four corners. So a class can win inside a cell of the
low-resolution grid only if its highest corner reaches the lowest corner of the best class. Only these *candidates* are
upsampled, over the pixels of their cells; the labels equal those of the plain formulation (upsample all, arg-max).
`lexiseg_model.kernel` does the same in one pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.device import widest_float
from lexiseg_model.kernel import calls as compiled
from lexiseg_model.kernel import library
from lexiseg_model.masks.bilinear import Axis, axes, axis, bands, interpolate
from lexiseg_model.masks.rle import LabelRuns
from lexiseg_model.types import LabelMap

SLACK = 1e-4  # of the scores: rounding must not lose a candidate
MIN_SCORE = -1e30  # replaces -inf: interpolation between infinite corners gives NaN
ROOM = 1 << 24  # numbers that are upsampled at a time on a GPU: 64 MB, and a few times that beside them
# (upsampled scores, their rows) -> values that compete; monotonic in the score.
Worth = Callable[[NDArray[np.float32], NDArray[np.intp]], NDArray[np.float32]]


class Winners(NamedTuple):
    """The label map and what its pixels are worth."""

    labels: LabelMap  # [H, W], the winning row of the scores: uint8 up to 256 rows, else uint16
    votes: NDArray[np.float64]  # [K], sum over a row's pixels of its probability among all rows
    probability: NDArray[np.float32] | None  # [H, W] of the winner, when asked for
    runs: LabelRuns | None = None  # of the labels, where they were found on a GPU


class Won(NamedTuple):
    """A band of output rows: the `best` worth and its row of the scores, [R, W] each."""

    band: slice
    best: NDArray[np.float32]
    winner: NDArray[np.intp]


@dataclass(frozen=True)
class _Candidates:
    """Rows that can win in each cell, ascending: `rows[first[cell] : first[cell] + count[cell]]`."""

    rows: NDArray[np.intp]
    first: NDArray[np.intp]
    count: NDArray[np.intp]


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
    if scores.is_cuda:
        return device_winners(scores, size, keep_probability)
    if library.ready():
        interpolation = axes((scores.shape[1], scores.shape[2]), size)
        return Winners(*compiled.winners(scores.float().cpu().numpy(), interpolation, keep_probability))
    return _winners(scores.clamp_min(MIN_SCORE), size, keep_probability)


def _winners(scores: Tensor, size: tuple[int, int], keep_probability: bool) -> Winners:
    n_rows = len(scores)
    y, x = axis(scores.shape[1], size[0]), axis(scores.shape[2], size[1])
    normaliser = np.pad(torch.logsumexp(scores, 0).cpu().numpy(), (0, 1), mode="edge")
    labels = np.empty(size, np.uint8 if n_rows <= 256 else np.uint16)
    probability = np.empty(size, np.float32) if keep_probability else None
    votes = np.zeros(n_rows)
    for band, best, winner in contest(scores, size):
        rows = Axis(y.low[band], y.weight[band])
        total = interpolate(normaliser[rows.low], normaliser[rows.low + 1], rows, x)
        np.exp(np.minimum(best - total, 0, out=best), out=best)
        labels[band] = winner
        votes += np.bincount(winner.reshape(-1), weights=best.reshape(-1), minlength=n_rows)
        if probability is not None:
            probability[band] = best
    return Winners(labels, votes, probability)


@torch.inference_mode()
def contest(scores: Tensor, size: tuple[int, int], worth: Worth | None = None) -> Iterator[Won]:
    """Find the winner of each pixel after bilinear upsampling (align_corners=False), in bands of output rows.

    Args:
        scores: [K, h, w] float32; K is at least 1. -inf as for `winners`.
        size: (H, W) of the result.
        worth: maps scores to the values that compete; None: the scores.

    Returns:
        Bands from top to bottom; ties go to the lower row of the scores.
    """
    worth = worth or _identity
    scores = scores.clamp_min(MIN_SCORE)
    candidates = _find_candidates(scores, worth)
    # Replicated borders give every cell four corners.
    corners = torch.nn.functional.pad(scores[None], (0, 1, 0, 1), mode="replicate")[0].cpu().numpy()
    y, x = axis(scores.shape[1], size[0]), axis(scores.shape[2], size[1])
    for band in bands(size):
        yield Won(band, *_win(corners, candidates, Axis(y.low[band], y.weight[band]), x, worth))


def _identity(scores: NDArray[np.float32], rows: NDArray[np.intp]) -> NDArray[np.float32]:
    return scores


def _find_candidates(scores: Tensor, worth: Worth) -> _Candidates:
    padded = torch.nn.functional.pad(scores[None], (0, 1, 0, 1), mode="replicate")[0]
    across = torch.maximum(padded[:, :, :-1], padded[:, :, 1:])
    highest = torch.maximum(across[:, :-1], across[:, 1:])  # [K, h, w] of a cell's four corners
    across = torch.minimum(padded[:, :, :-1], padded[:, :, 1:])
    lowest = torch.minimum(across[:, :-1], across[:, 1:])
    if worth is not _identity:
        row = np.arange(len(scores))[:, None, None]
        highest, lowest = (torch.from_numpy(worth(corner.cpu().numpy(), row)) for corner in (highest, lowest))
    can_win = highest >= lowest.amax(0) - SLACK
    cell, row_of_cell = can_win.flatten(1).T.contiguous().nonzero(as_tuple=True)
    count = torch.bincount(cell, minlength=can_win[0].numel())
    first = count.cumsum(0) - count
    return _Candidates(row_of_cell.cpu().numpy(), first.cpu().numpy(), count.cpu().numpy())


def _win(
    corners: NDArray[np.float32], candidates: _Candidates, y: Axis, x: Axis, worth: Worth
) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """Best worth and its row for a band of output rows: [R, W] each."""
    score, winner, count = _first_candidates(corners, candidates, y, x)
    best = worth(score, winner)
    flat_best, flat_winner = best.reshape(-1), winner.reshape(-1)
    contested = np.flatnonzero(count > 1)
    line, column = np.divmod(contested, len(x.low))
    cell = y.low[line] * (corners.shape[2] - 1) + x.low[column]
    rank = 1
    while len(contested):
        challenger = candidates.rows[candidates.first[cell] + rank]
        score = _score_at(corners, challenger, Axis(y.low[line], y.weight[line]), Axis(x.low[column], x.weight[column]))
        value = worth(score, challenger)
        better = value > flat_best[contested]
        flat_best[contested[better]] = value[better]
        flat_winner[contested[better]] = challenger[better]
        rank += 1
        more = candidates.count[cell] > rank
        contested, line, column, cell = contested[more], line[more], column[more], cell[more]
    return best, winner


def _first_candidates(
    corners: NDArray[np.float32], candidates: _Candidates, y: Axis, x: Axis
) -> tuple[NDArray[np.float32], NDArray[np.intp], NDArray[np.intp]]:
    """Score, row and number of candidates at each pixel, for the first candidate of its cell: [R, W] each."""
    cells_wide = corners.shape[2] - 1
    top, bottom = y.low[0], y.low[-1] + 1  # cells of this band
    cells = slice(top * cells_wide, bottom * cells_wide)
    row = candidates.rows[candidates.first[cells]].reshape(-1, cells_wide)
    cell_y, cell_x = np.arange(top, bottom)[:, None], np.arange(cells_wide)
    inside = Axis(y.low - top, y.weight)
    sides = []
    for shift in (0, 1):
        upper, lower = corners[row, cell_y, cell_x + shift], corners[row, cell_y + 1, cell_x + shift]
        sides.append(upper[inside.low] + y.weight[:, None] * (lower - upper)[inside.low])  # [R, w]
    left, right = sides
    right -= left
    best = right.take(x.low, 1)  # contiguous, unlike [:, x.low]
    best *= x.weight
    best += left.take(x.low, 1)
    count = candidates.count[cells].reshape(-1, cells_wide)
    return best, row[inside.low].take(x.low, 1), count[inside.low].take(x.low, 1)


def _score_at(corners: NDArray[np.float32], row: NDArray[np.intp], y: Axis, x: Axis) -> NDArray[np.float32]:
    """Bilinear values of single pixels, each with its own row of the scores and position."""
    _, height, width = corners.shape
    flat = corners.reshape(-1)
    corner = (row * height + y.low) * width + x.low
    left: NDArray[np.float32] = flat[corner]
    left += y.weight * (flat[corner + width] - left)
    right = flat[corner + 1]
    right += y.weight * (flat[corner + width + 1] - right)
    right -= left
    right *= x.weight
    left += right
    return left


@torch.inference_mode()
def device_winners(scores: Tensor, size: tuple[int, int], keep_probability: bool) -> Winners:
    """As `winners`, by torch on the device of the scores: a GPU returns the label map and its runs, not all scores.

    Every pixel is computed as by the kernel, sum by sum, so the labels are equal to the last bit.
    """
    scores = scores.float().clamp_min(MIN_SCORE)
    n_rows = len(scores)
    y, x = (
        _on_device(places, scores.device) for places in (axis(scores.shape[1], size[0]), axis(scores.shape[2], size[1]))
    )
    normaliser = torch.logsumexp(scores, 0)[None]
    votes = torch.zeros(n_rows, dtype=widest_float(scores.device), device=scores.device)
    labels: list[Tensor] = []
    probability: list[Tensor] = []
    step = max(1, ROOM // (n_rows * size[1]))
    for top in range(0, size[0], step):
        band = slice(top, top + step)
        rows = y[0][band], y[1][band]
        best, winner = _upsampled(scores, rows, x).max(0)
        share = (best - _upsampled(normaliser, rows, x)[0]).clamp_max_(0).exp_()
        votes.index_add_(0, winner.flatten(), share.flatten().to(votes.dtype))
        labels.append(winner.to(torch.uint8 if n_rows <= 256 else torch.int32))
        if keep_probability:
            probability.append(share)
    label_map_on_device = torch.cat(labels)
    label_map: LabelMap = label_map_on_device.cpu().numpy()
    if n_rows > 256:
        label_map = label_map.astype(np.uint16)
    shares = torch.cat(probability).cpu().numpy() if keep_probability else None
    return Winners(label_map, votes.cpu().double().numpy(), shares, runs_of(label_map_on_device))


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


def _on_device(places: Axis, device: torch.device) -> tuple[Tensor, Tensor]:
    low, weight = (torch.from_numpy(part.copy()).to(device) for part in places)
    return low, weight


def _upsampled(scores: Tensor, y: tuple[Tensor, Tensor], x: tuple[Tensor, Tensor]) -> Tensor:
    """Upsample maps [K, h, w] to [K, R, W]: rows first, then columns, with one unfused product and sum each."""
    upper, lower = scores[:, y[0]], scores[:, (y[0] + 1).clamp_max(scores.shape[1] - 1)]
    rows = upper + y[1][:, None] * (lower - upper)
    left, right = rows[:, :, x[0]], rows[:, :, (x[0] + 1).clamp_max(scores.shape[2] - 1)]
    return left + x[1] * (right - left)
