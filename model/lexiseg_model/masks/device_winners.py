"""The label map and its runs made where the scores lie: from a GPU they go back, and not the scores of all classes.

Every pixel is asked as `lexiseg_model.masks.upsample` asks it, sum by sum, so the labels are equal to the last bit.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lexiseg_model.masks.bilinear import Axis, axis
from lexiseg_model.masks.rle import LabelRuns
from lexiseg_model.masks.winners import MIN_SCORE, Winners
from lexiseg_model.types import LabelMap

ROOM = 1 << 24  # numbers that are upsampled at a time: 64 MB, and a few times that beside them


@torch.inference_mode()
def winners(scores: Tensor, size: tuple[int, int], keep_probability: bool) -> Winners:
    """As `lexiseg_model.masks.upsample.winners`, by torch, on the device of the scores.

    Args:
        scores: [K, h, w] logits; -inf is a place where a row does not win.
        size: (H, W) of the answer.
        keep_probability: also give the probability of every pixel's winner.
    """
    scores = scores.float().clamp_min(MIN_SCORE)
    n_rows = len(scores)
    y, x = (
        _there(places, scores.device) for places in (axis(scores.shape[1], size[0]), axis(scores.shape[2], size[1]))
    )
    normaliser = torch.logsumexp(scores, 0)[None]
    votes = torch.zeros(n_rows, dtype=torch.float64, device=scores.device)
    labels: list[Tensor] = []
    probability: list[Tensor] = []
    step = max(1, ROOM // (n_rows * size[1]))
    for top in range(0, size[0], step):
        band = slice(top, top + step)
        rows = y[0][band], y[1][band]
        best, winner = _upsampled(scores, rows, x).max(0)
        share = (best - _upsampled(normaliser, rows, x)[0]).clamp_max_(0).exp_()
        votes.index_add_(0, winner.flatten(), share.flatten().double())
        labels.append(winner.to(torch.uint8 if n_rows <= 256 else torch.int32))
        if keep_probability:
            probability.append(share)
    there = torch.cat(labels)
    label_map: LabelMap = there.cpu().numpy()
    if n_rows > 256:
        label_map = label_map.astype(np.uint16)
    shares = torch.cat(probability).cpu().numpy() if keep_probability else None
    return Winners(label_map, votes.cpu().numpy(), shares, runs_of(there))


def runs_of(labels: Tensor) -> LabelRuns:
    """Of a label map [H, W] on any device, found there."""
    flat = labels.T.reshape(-1)
    begin = flat.new_ones(len(flat), dtype=torch.bool)
    torch.ne(flat[1:], flat[:-1], out=begin[1:])
    start = begin.nonzero()[:, 0]
    value = flat[start].to(torch.int32)
    end = start.new_full((1,), len(flat))
    size = (labels.shape[0], labels.shape[1])
    return LabelRuns(size, torch.cat([start, end]).cpu().numpy(), value.cpu().numpy())


def _there(places: Axis, device: torch.device) -> tuple[Tensor, Tensor]:
    low, weight = (torch.from_numpy(part.copy()).to(device) for part in places)
    return low, weight


def _upsampled(scores: Tensor, y: tuple[Tensor, Tensor], x: tuple[Tensor, Tensor]) -> Tensor:
    """[K, h, w] -> [K, R, W]: rows first, then columns; one product and one sum each, none fused."""
    upper, lower = scores[:, y[0]], scores[:, (y[0] + 1).clamp_max(scores.shape[1] - 1)]
    rows = upper + y[1][:, None] * (lower - upper)
    left, right = rows[:, :, x[0]], rows[:, :, (x[0] + 1).clamp_max(scores.shape[2] - 1)]
    return left + x[1] * (right - left)
