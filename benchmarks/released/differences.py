"""How far two results lie apart."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor


def difference(pairs: Iterable[tuple[Tensor, Tensor]]) -> float:
    """The largest difference of pairs (ours, theirs), as a share of the largest of theirs; inf: other shapes."""
    shares = [
        float((ours - theirs).abs().max() / theirs.abs().max()) if ours.shape == theirs.shape else float("inf")
        for ours, theirs in pairs
    ]
    return max(shares)


def picture(seed: int, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Noise [H, W, 3] in patches, sharp and flat places of which every colour has some."""
    height, width = size
    coarse = np.random.default_rng(seed).integers(0, 256, (-(-height // 12), -(-width // 12), 3), np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))
    return np.where(np.arange(height)[:, None, None] % 24 < 12, smooth, np.roll(smooth, 7, 1)).astype(np.uint8)
