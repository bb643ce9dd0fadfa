"""Trident (Shi et al., ICCV 2025, arXiv 2411.09219) read off its formulas: float64, loops over patches and windows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tests.golden.corrclip import bilinear

Array = NDArray[np.float64]
FACTOR = 1.2


def affinity(weights: Array, features: Array) -> Array:
    """A [P, P] from attention weights [heads, P, P] and features [P, C] of SAM: (W + M) / |W + M|."""
    count = len(features)
    cosines = np.zeros((count, count))
    for i in range(count):
        for j in range(count):
            norms = np.linalg.norm(features[i]) * np.linalg.norm(features[j])
            cosines[i, j] = features[i] @ features[j] / norms
    bound = FACTOR * cosines.mean()
    kept = weights.mean(0)
    for i in range(count):
        for j in range(count):
            if cosines[i, j] < bound and i != j:
                kept[i, j] -= kept[i, j]
        kept[i] /= kept[i].sum()
    return kept


def spliced(windows: list[Array], corners: list[tuple[int, int]], grid: tuple[int, int]) -> Array:
    """Windows [h, w, D] at corners in patches -> [H, W, D], the mean of those that cover a patch."""
    out = np.zeros((*grid, windows[0].shape[2]))
    for y in range(grid[0]):
        for x in range(grid[1]):
            seen = [
                window[y - top, x - left]
                for window, (top, left) in zip(windows, corners, strict=True)
                if top <= y < top + window.shape[0] and left <= x < left + window.shape[1]
            ]
            out[y, x] = np.mean(seen, axis=0)
    return out


def aggregated(shares: Array, plane: Array, grid: tuple[int, int]) -> Array:
    """[H, W, D] on SAM's grid -> unit vectors [h, w, D], each the mean of those that it attends to."""
    tokens = bilinear(plane, grid).reshape(-1, plane.shape[2])
    out = np.zeros_like(tokens)
    for i in range(len(tokens)):
        for j in range(len(tokens)):
            out[i] += shares[i, j] * tokens[j]
        out[i] /= np.linalg.norm(out[i])
    return out.reshape(*grid, -1)
