"""Upsample low-resolution class scores and take the arg-max, at a cost that hardly grows with the classes.

Bilinear upsampling stays within the range of a pixel's four corners. So a class can win inside a cell of the
low-resolution grid only if its highest corner reaches the lowest corner of the best class. Only such classes are
compared; the labels equal the plain formulation's (upsample all, arg-max). `lexiseg_model.kernel` does the same
in one pass; a GPU upsamples every class.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.kernel import library, shapes
from lexiseg_model.kernel.library import Axes
from lexiseg_model.pictures.bands import bands
from lexiseg_model.resources.device import widest_float
from lexiseg_model.types import LabelMap

SLACK = 1e-4  # of the scores: rounding must not lose a class
MIN_SCORE = -1e30  # replaces -inf: interpolation between infinite corners gives NaN
ROOM = (
    1 << 24
)  # numbers of a strip of all maps, upsampled at a time on a GPU: 64 MB, and a few times that for temporary tensors
# (scores, indices of their rows, which may broadcast) -> values that compete; monotonic in the score.
Worth = Callable[[Tensor, Tensor], Tensor]
BELOW_ONE = np.nextafter(np.float32(1), np.float32(0))
# [N, 2] where runs of a mask begin and end (one past), as places y + x * H of an image H pixels high; ascending, apart.
Spans = NDArray[np.int64]


class Winners(NamedTuple):
    """The label map and what its pixels are worth."""

    labels: LabelMap  # [H, W], the winning row of the scores: uint8 up to 256 rows, else uint16
    votes: NDArray[np.float64]  # [K], sum over a row's pixels of its probability among all rows
    probability: NDArray[np.float32] | None  # [H, W] of the winner, when asked for


class Strip(NamedTuple):
    """Rows of an output, and the rows of `cells` between which they are interpolated."""

    rows: slice
    cells: slice
    y: tuple[Tensor, Tensor]  # [R] each pixel's lower cell, from the strip's first one, and the weight of the next
    x: tuple[Tensor, Tensor]  # [W] likewise


class Won(NamedTuple):
    """A strip of the output: the `best` worth and its row of the scores, [R, W] each, on the device of the scores."""

    strip: Strip
    best: Tensor
    winner: Tensor


@torch.inference_mode()
def winners(scores: Tensor, size: tuple[int, int], keep_probability: bool = False) -> Winners:
    """Bilinear upsampling (align_corners=False) of logits [K, h, w] float32 to `size` (H, W), and arg-max.

    A row does not win at or next to a cell where it is -inf; ties go to the lower row. A probability, at most 1, is exp
    of the winner's upsampled logit minus the upsampled log-sum-exp of all rows.
    """
    if library.ready() and not scores.is_cuda:
        numbers, places = scores.float().contiguous().numpy(force=True), axes((scores.shape[1], scores.shape[2]), size)
        return Winners(*library.winners(numbers, places, keep_probability))
    # By torch on the device of the scores: a GPU returns the label map, not all scores. Every pixel is
    # computed as by the kernel, sum by sum, so the labels are equal to the last bit.
    scores = scores.float().clamp_min(MIN_SCORE)
    n_rows, device = len(scores), scores.device
    normaliser = torch.logsumexp(scores, 0)[None]
    votes = torch.zeros(n_rows, dtype=widest_float(device), device=device)
    labels = torch.empty(size, dtype=torch.uint8 if n_rows <= 256 else torch.int32, device=device)
    probability = torch.empty(size, device=device) if keep_probability else None
    for strip, best, winner in contest(scores, size):
        share = (best - upsampled(normaliser, strip)[0]).clamp_max_(0).exp_()
        votes.index_add_(0, winner.flatten(), share.flatten().to(votes.dtype))
        labels[strip.rows] = winner.to(labels.dtype)
        if probability is not None:
            probability[strip.rows] = share
    label_map: LabelMap = labels.cpu().numpy()
    if n_rows > 256:
        label_map = label_map.astype(np.uint16)
    shares = None if probability is None else probability.cpu().numpy()
    return Winners(label_map, votes.cpu().double().numpy(), shares)


@torch.inference_mode()
def contest(scores: Tensor, size: tuple[int, int], worth: Worth = lambda scores, rows: scores) -> Iterator[Won]:
    """Find the winner of each pixel after bilinear upsampling (align_corners=False) of scores [K, h, w], as `winners`.

    Strips of the result of `size` (H, W) come from top to bottom; K is at least 1. `worth` gives what competes.
    """
    scores = scores.clamp_min(MIN_SCORE)
    if scores.device.type == "cpu":
        yield from _contest_by_cells(scores, size, worth)
        return
    rows = torch.arange(len(scores), device=scores.device)[:, None, None]
    for strip in strips(scores, size):
        yield Won(strip, *worth(upsampled(scores, strip), rows).max(0))


def _contest_by_cells(scores: Tensor, size: tuple[int, int], worth: Worth) -> Iterator[Won]:
    padded = F.pad(scores[None], (0, 1, 0, 1), mode="replicate")[0]  # [K, h + 1, w + 1]: every cell has four corners
    every = torch.arange(len(scores))[:, None, None]
    highest, lowest = (worth(_over_cells(choose, padded), every) for choose in (torch.maximum, torch.minimum))
    # Pairs of a cell and a row that can win in it, cell by cell: `count` rivals of each cell, from `first` on.
    cell_of, rivals = (highest >= lowest.amax(0) - SLACK).flatten(1).T.nonzero(as_tuple=True)
    count = cell_of.bincount(minlength=lowest[0].numel())
    first = count.cumsum(0) - count
    for strip in _strips(scores, size, bands(size)):
        (y, down), (x, across) = strip.y, strip.x
        shape = (len(y), len(x))
        y = y + strip.cells.start
        cell = (y[:, None] * scores.shape[2] + x).flatten()
        corner = (y[:, None] * padded.shape[2] + x).flatten()
        down, across = down[:, None].expand(shape).flatten(), across.expand(shape).flatten()
        # `best` and `winner` [P] of all pixels; the others only of pixels in cells with a rival of this rank.
        best, winner = torch.full((len(cell),), -torch.inf), torch.zeros_like(cell)
        pixels = torch.arange(len(cell))
        for rank in range(int(count.take(cell).max())):
            row = rivals.take(first.take(cell) + rank)
            value = worth(_score_at(padded, row, corner, down, across), row)
            is_better = value > best.take(pixels)
            better = pixels[is_better]
            best[better], winner[better] = value[is_better], row[is_better]
            more = (count.take(cell) > rank + 1).nonzero()[:, 0]
            pixels, cell, corner, down, across = (each.take(more) for each in (pixels, cell, corner, down, across))
        yield Won(strip, best.view(shape), winner.view(shape))


def _over_cells(choose: Callable[[Tensor, Tensor], Tensor], padded: Tensor) -> Tensor:
    """The chosen of each cell's four corners, [K, h, w]."""
    across = choose(padded[:, :, :-1], padded[:, :, 1:])
    return choose(across[:, :-1], across[:, 1:])


def _score_at(padded: Tensor, row: Tensor, corner: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """Values [P] of single pixels, each of its own row of `padded` [K, h + 1, w + 1], as `upsampled` computes them."""
    flat, width = padded.flatten(), padded.shape[2]
    upper_left = row * padded[0].numel() + corner
    sides = []
    for upper in (upper_left, upper_left + 1):
        value = flat.take(upper)
        sides.append(value + down * (flat.take(upper + width) - value))
    return sides[0] + across * (sides[1] - sides[0])


def strips(scores: Tensor, size: tuple[int, int]) -> Iterator[Strip]:
    """Strips of an output of `size` (H, W), top to bottom, small enough to upsample all maps [K, h, w] at once."""
    step = max(1, ROOM // (len(scores) * size[1]))
    return _strips(scores, size, (slice(start, start + step) for start in range(0, size[0], step)))


def _strips(scores: Tensor, size: tuple[int, int], bands_of_rows: Iterable[slice]) -> Iterator[Strip]:
    down, across = (axis(cells, pixels) for cells, pixels in zip(scores.shape[1:], size, strict=True))
    x = _on_device(across.low, across.weight, scores.device)
    for rows in bands_of_rows:
        low = down.low[rows]
        cells = slice(int(low[0]), int(low[-1]) + 2)
        yield Strip(rows, cells, _on_device(low - low[0], down.weight[rows], scores.device), x)


def _on_device(low: NDArray[np.intp], weight: NDArray[np.float32], device: torch.device) -> tuple[Tensor, Tensor]:
    """Copies of read-only arrays as tensors."""
    return torch.tensor(low, device=device), torch.tensor(weight, device=device)


def upsampled(scores: Tensor, strip: Strip) -> Tensor:
    """Upsample scores [K, h, w] to a strip [K, R, W]: rows first, then columns, one unfused product and sum each."""
    (y, down), (x, across) = strip.y, strip.x
    corners = scores[:, strip.cells]
    upper, lower = corners[:, y], corners[:, (y + 1).clamp_max(corners.shape[1] - 1)]
    rows = upper + down[:, None] * (lower - upper)
    left, right = rows[:, :, x], rows[:, :, (x + 1).clamp_max(corners.shape[2] - 1)]
    return left + across * (right - left)


class Axis(NamedTuple):
    """Interpolation along one axis: lower input index and weight of the next for each output (half-pixel centres)."""

    low: NDArray[np.intp]
    weight: NDArray[np.float32]  # 0..1, below 1, so that two negative inputs never interpolate to 0


@lru_cache(8)
def axis(cells: int, pixels: int) -> Axis:
    """Interpolation of `cells` inputs to `pixels` outputs, cached and read-only."""
    position = ((np.arange(pixels) + 0.5) * (cells / pixels) - 0.5).clip(0, cells - 1)
    low = np.floor(position).astype(np.intp)
    interpolation = Axis(low, np.minimum((position - low).astype(np.float32), BELOW_ONE))
    for array in interpolation:
        array.flags.writeable = False
    return interpolation


@lru_cache(8)
def axes(cells: tuple[int, int], size: tuple[int, int]) -> Axes:
    """Interpolation of cells (h, w) to an output of `size` (H, W), in the kernel's layout."""
    return Axes(*axis(cells[0], size[0]), *axis(cells[1], size[1]))


def cut(logits: NDArray[np.float32], size: tuple[int, int]) -> Spans:
    """Upsample a mask bilinearly (align_corners=False) and give the runs of what is not below 0.

    Interpolated along the rows, then down the columns, in float32. The kernel finds the crossings of 0 between
    low-resolution rows, at the cost of the outline; numpy looks at every pixel. Logits [h, w] are finite. A run that
    reaches the lower edge goes on into the next column where that begins inside.
    """
    if library.ready():
        return shapes.cut(logits, axes((logits.shape[0], logits.shape[1]), size))
    corners = np.pad(logits, ((0, 1), (0, 1)), mode="edge")  # each cell has four
    y, x = axis(logits.shape[0], size[0]), axis(logits.shape[1], size[1])
    values = (np.diff(corners, axis=1)[:, x.low] * x.weight + corners[:, x.low]).T  # [W, h + 1]
    inside = np.zeros(size[1] * size[0] + 2, np.bool_)  # between two places outside
    for columns in bands((size[1], size[0])):
        step = np.diff(values[columns], axis=1)
        pixels = values[columns][:, y.low] + y.weight * step[:, y.low]
        inside[1 + columns.start * size[0] : 1 + columns.stop * size[0]] = (pixels >= 0).reshape(-1)
    spans: Spans = np.flatnonzero(inside[1:] != inside[:-1]).reshape(-1, 2)
    return spans
