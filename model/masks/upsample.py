"""From low-resolution class scores to a label map at the image's size: bilinear, arg-max, probability of the winner."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.types import LabelMap

CHUNK_BYTES = 32 << 20  # of upsampled scores held at a time


class Winners(NamedTuple):
    """`labels` [H, W]: the winning row of the scores; `probability` [H, W] float32 of it among all rows."""

    labels: LabelMap
    probability: NDArray[np.float32]


class _Axis(NamedTuple):
    low: Tensor
    high: Tensor
    weight: Tensor  # of `high`


@torch.inference_mode()
def winners(scores: Tensor, size: tuple[int, int]) -> Winners:
    """Bilinear upsampling (align_corners=False) and arg-max in chunks of rows; memory does not grow with the image.

    Args:
        scores: [K, h, w] float32 logits.
        size: (H, W) of the answer.

    Returns:
        The label map (uint8 up to 256 rows, else uint16), ties going to the lower row, and the winner's probability:
        its upsampled logit against the upsampled log-sum-exp of all rows, which never exceeds 1.
    """
    n_rows, height, width = scores.shape
    normaliser = torch.logsumexp(scores, 0, keepdim=True)
    y, x = _axis(height, size[0], scores.device), _axis(width, size[1], scores.device)
    labels = np.empty(size, np.uint8 if n_rows <= 256 else np.uint16)
    probability = np.empty(size, np.float32)
    chunk = max(1, CHUNK_BYTES // (4 * n_rows * size[1]))
    for start in range(0, size[0], chunk):
        band = _Axis(*(part[start : start + chunk] for part in y))
        best, index = _bilinear(scores, band, x).max(0)
        total = _bilinear(normaliser, band, x)[0]
        labels[start : start + chunk] = index.cpu().numpy()
        probability[start : start + chunk] = (best - total).exp_().clamp_(0, 1).cpu().numpy()
    return Winners(labels, probability)


def _axis(cells: int, pixels: int, device: torch.device) -> _Axis:
    position = ((torch.arange(pixels, device=device) + 0.5) * (cells / pixels) - 0.5).clamp_(0, cells - 1)
    low = position.floor().long()
    return _Axis(low, (low + 1).clamp_max(cells - 1), (position - low).float())


def _bilinear(scores: Tensor, y: _Axis, x: _Axis) -> Tensor:
    rows = torch.lerp(scores[:, y.low], scores[:, y.high], y.weight[:, None])  # [K, R, w]
    return torch.lerp(rows[:, :, x.low], rows[:, :, x.high], x.weight)  # [K, R, W]
