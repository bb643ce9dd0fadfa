"""LPOSS (Stojnic et al., CVPR 2025) read off its formulas: loops over pairs, dense matrices, a direct solve."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

ALPHA, GAMMA, NEIGHBOURS, SIGMA, TAU = 0.95, 3.0, 400, 0.01, 0.01


def solve(weights: Array, labels: Array) -> Array:
    """(I - alpha D^-1/2 W D^-1/2)^-1 Y for dense W [N, N] without a diagonal and Y [N, K]."""
    n = len(weights)
    degree = [sum(weights[i]) or 1.0 for i in range(n)]
    system = np.eye(n)
    for i in range(n):
        for j in range(n):
            system[i, j] -= ALPHA * weights[i, j] / math.sqrt(degree[i] * degree[j])
    return np.linalg.solve(system, labels)


def patch_weights(units: Array, grid: tuple[int, int], step: float, neighbours: int = NEIGHBOURS) -> Array:
    """[N, N] of unit features [N, D] on a grid (rows, columns) of patches of `step` pixels."""
    n = len(units)
    similarity = units @ units.T
    weights = np.zeros((n, n))
    for i in range(n):
        for j in np.argsort(-similarity[i], kind="stable")[:neighbours]:
            rows, columns = i // grid[1] - j // grid[1], i % grid[1] - j % grid[1]
            distance = step * math.hypot(rows, columns)
            weights[i, j] = max(similarity[i, j], 0.0) ** GAMMA * math.exp(-SIGMA * distance)
    weights = weights + weights.T
    np.fill_diagonal(weights, 0.0)
    return weights


def pixel_weights(lab: NDArray[np.float32], reach: int) -> Array:
    """[N, N] of colours [H, W, 3] in Lab, each part about 0..1: pixels up to `reach` apart along both axes."""
    height, width = lab.shape[:2]
    weights = np.zeros((height * width, height * width))
    for y in range(height):
        for x in range(width):
            for v in range(max(0, y - reach), min(height, y + reach + 1)):
                for u in range(max(0, x - reach), min(width, x + reach + 1)):
                    if (y, x) != (v, u):
                        difference = math.sqrt(((lab[y, x] - lab[v, u]) ** 2).sum())
                        weights[y * width + x, v * width + u] = math.exp(-difference / TAU)
    return weights
