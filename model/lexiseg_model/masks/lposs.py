"""LPOSS: label propagation over patches, then over pixels (Stojnic et al., CVPR 2025, arXiv 2503.19777).

Labels Y are propagated over a graph of weights W: Z = (I - alpha S)^-1 Y with S = D^-1/2 W D^-1/2. W depends on
features and distance between patches, on colours between pixels. Features are the values of DINO's last block, as
published, of a model that has a DINO; otherwise the model's own patches. Here Y are the probabilities of a cell, and Z
is divided by the Z of ones, so that it stays a probability; that does not change a cell's winner. Patches are of
the whole picture, where the authors take all windows'.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import cg
from torch import Tensor

ALPHA = 0.95  # weight of a node's neighbours
GAMMA = 3.0  # exponent of the similarity of patches
NEIGHBOURS = 400  # edges of a patch, to the most similar ones
SIGMA = 0.01  # decay per pixel of distance between patches
TAU = 0.01  # scale of colour differences
REACH = 6  # pixels; a window of 13 x 13
SHORT_SIDE = 448  # of the images that these numbers are for, in pixels
PATCH_SHORT_SIDE = 28  # in patches of 16 pixels; finer ones are averaged
PIXEL_SHORT_SIDE = 112  # of the pixel graph: at the published size a solve takes seconds per class
LAB_RANGE = (100.0, 128.0, 128.0)
TOLERANCE, ITERATIONS = 1e-6, 50  # of conjugate gradients

Labels = NDArray[np.float64]  # [N, K]


def refine(probability: Tensor, patches: Tensor | None, picture: Tensor) -> Tensor:
    """Propagate probabilities [K, h, w] over patches, unit vectors [D, r, c], if any; then over pixels [3, H, W].

    The result is [K, H', W'] float32 in 0..1, with a short side of `PIXEL_SHORT_SIDE`, or the picture's if smaller.
    """
    maps = probability.float().cpu()
    if patches is not None:
        maps = over_patches(maps, patches.double().cpu())
    shrink = min(1.0, PIXEL_SHORT_SIDE / min(picture.shape[1:]))
    size = (max(1, round(picture.shape[1] * shrink)), max(1, round(picture.shape[2] * shrink)))
    rgb = cv2.resize(picture.permute(1, 2, 0).cpu().numpy(), size[::-1], interpolation=cv2.INTER_AREA)
    lab = cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2LAB) / np.array(LAB_RANGE, np.float32)
    weights = pixel_weights(np.asarray(lab, np.float32), max(1, round(REACH * min(size) / SHORT_SIDE)))
    return _propagate_maps(weights, _resize(maps, size)).to(probability.device).clamp_(0, 1)


def over_patches(maps: Tensor, patches: Tensor) -> Tensor:
    """Propagate maps [K, h, w] over patches of unit vectors [D, r, c], averaged to at most PATCH_SHORT_SIDE."""
    shrink = min(1.0, PATCH_SHORT_SIDE / min(patches.shape[1:]))
    rows, columns = (max(1, round(side * shrink)) for side in patches.shape[1:])
    patches = F.normalize(F.adaptive_avg_pool2d(patches[None], (rows, columns))[0], dim=0)
    units = patches.flatten(1).T.double().numpy()
    weights = patch_weights(units, (rows, columns), SHORT_SIDE / min(rows, columns))
    return _propagate_maps(weights, _resize(maps, (rows, columns)))


def propagate(weights: sparse.csr_array, labels: Labels) -> Labels:
    """Z of labels [N, K] over Z of ones; weights [N, N] are symmetric and nonnegative with a zero diagonal."""
    degree = np.asarray(weights.sum(axis=1)).ravel()
    scale = sparse.diags_array(1 / np.sqrt(np.where(degree > 0, degree, 1)))
    system = sparse.eye_array(len(degree), format="csr") - ALPHA * (scale @ weights @ scale)

    def solve(column: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(cg(system, column, rtol=TOLERANCE, maxiter=ITERATIONS)[0], np.float64)

    ones = solve(np.ones(len(degree)))
    return np.stack([solve(column) / ones for column in labels.T], axis=1)


def patch_weights(
    units: NDArray[np.float64], grid: tuple[int, int], step: float, neighbours: int = NEIGHBOURS
) -> sparse.csr_array:
    """Edge weights max(cosine, 0)^gamma exp(-sigma distance) to the most similar patches, symmetrised by a sum.

    `units` [N, D] are row by row of a grid; `step` is pixels between patches, in an image with a short side of 448.
    """
    n = len(units)
    similarity = units @ units.T
    n_edges = min(neighbours, n)
    nearest = np.argpartition(-similarity, n_edges - 1, axis=1)[:, :n_edges]
    source = np.repeat(np.arange(n), n_edges)
    target = nearest.ravel()
    distance = step * np.hypot(source // grid[1] - target // grid[1], source % grid[1] - target % grid[1])
    values = np.maximum(similarity[source, target], 0) ** GAMMA * np.exp(-SIGMA * distance)
    values[source == target] = 0
    one_way = sparse.csr_array((values, (source, target)), shape=(n, n))
    return (one_way + one_way.T).tocsr()


def pixel_weights(lab: NDArray[np.float32], reach: int) -> sparse.csr_array:
    """Edge weights exp(-difference / tau) of colours [H, W, 3] between pixels at most `reach` apart along both axes."""
    height, width = lab.shape[:2]
    pixels = np.arange(height * width).reshape(height, width)
    y_reach, x_reach = min(reach, height - 1), min(reach, width - 1)
    offsets = [(y, x) for y in range(y_reach + 1) for x in range(-x_reach, x_reach + 1) if y > 0 or x > 0]
    source, target, values = [], [], []
    for y, x in offsets:
        start = (slice(0, height - y), slice(max(0, -x), width - max(0, x)))
        end = (slice(y, height), slice(max(0, x), width - max(0, -x)))
        difference = np.sqrt(((lab[start] - lab[end]).astype(np.float64) ** 2).sum(2))
        source.append(pixels[start].ravel())
        target.append(pixels[end].ravel())
        values.append(np.exp(-difference / TAU).ravel())
    n = height * width
    edges = (np.concatenate(source), np.concatenate(target))
    one_way = sparse.csr_array((np.concatenate(values), edges), shape=(n, n))
    return (one_way + one_way.T).tocsr()


def _propagate_maps(weights: sparse.csr_array, maps: Tensor) -> Tensor:
    labels = maps.flatten(1).T.double().numpy()
    return torch.from_numpy(propagate(weights, labels).T.reshape(maps.shape)).float()


def _resize(maps: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(maps[None], size=size, mode="bilinear", align_corners=False)[0]
