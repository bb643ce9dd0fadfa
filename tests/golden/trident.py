"""Trident (Shi et al., ICCV 2025, arXiv 2411.09219) read off its formulas: float64, loops over patches and windows."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tests.golden.corrclip import bilinear

Array = NDArray[np.float64]
SMALLEST, STRENGTH = 225, 0.005


def affinity(weights: Array, features: Array, factor: float) -> Array:
    """A [P, P] from attention weights [heads, P, P] and features [P, C] of SAM: (W + M) / |W + M|."""
    count = len(features)
    cosines = np.zeros((count, count))
    for i in range(count):
        for j in range(count):
            norms = np.linalg.norm(features[i]) * np.linalg.norm(features[j])
            cosines[i, j] = features[i] @ features[j] / norms
    bound = factor * cosines.mean()
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


def connected(mask: NDArray[np.bool_]) -> list[NDArray[np.bool_]]:
    """Regions of a mask whose cells touch by sides or corners, those that are large enough."""
    waiting, found = {(int(y), int(x)) for y, x in np.argwhere(mask)}, []
    while waiting:
        reached, edge = set(), [waiting.pop()]
        while edge:
            y, x = edge.pop()
            reached.add((y, x))
            around = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & waiting
            waiting -= around
            edge += around
        region = np.zeros(mask.shape, bool)
        for y, x in reached:
            region[y, x] = True
        if len(reached) >= SMALLEST:
            found.append(region)
    return found


def _asked(share: Array, least: float, region: NDArray[np.bool_], sam: Any, embedding: torch.Tensor) -> tuple[Array, float]:
    """Logits [h', w'] over the picture and the expected IoU of one region's prompts."""
    height, width = share.shape
    side = sam.config.vision_config.image_size
    inside = [int(length * side / max(height, width) + 0.5) for length in (height, width)]
    low = [int(length * side / 2 / max(height, width) + 0.5) for length in (height, width)]
    hint = np.zeros((side // 2, side // 2))
    small = bilinear(share[:, :, None], (low[0], low[1]))[:, :, 0]
    hint[: low[0], : low[1]] = np.where(small > least, STRENGTH * small, 0)
    rows, columns = np.nonzero(region)
    y, x = np.unravel_index(np.argmax(np.where(region, share, -1)), share.shape)
    scale = np.array([inside[1] / width, inside[0] / height])
    box = np.concatenate([np.array([columns.min(), rows.min()]) * scale, np.array([columns.max(), rows.max()]) * scale])
    out = sam(
        image_embeddings=embedding[None],
        input_points=torch.tensor(np.array([x, y]) * scale).float().view(1, 1, 1, 2),
        input_labels=torch.ones(1, 1, 1, dtype=torch.int64),
        input_boxes=torch.tensor(box).float().view(1, 1, 4),
        input_masks=torch.tensor(hint).float().view(1, 1, *hint.shape),
        multimask_output=False,
    )
    logits = out.pred_masks[0, 0, 0].double().numpy()
    whole = bilinear(logits[:, :, None], (side, side))[:, :, 0]
    return whole[: inside[0], : inside[1]], float(out.iou_scores[0, 0, 0])


def _regions(shares: Array, least: float) -> tuple[Array, list[tuple[int, NDArray[np.bool_]]]]:
    """Probabilities [K, h, w] at half the size, and the regions of each class."""
    count, height, width = shares.shape
    half = np.stack([bilinear(share[:, :, None], (height // 2, width // 2))[:, :, 0] for share in shares])
    winners = shares.argmax(0)
    nearest = np.array(
        [[winners[y * height // (height // 2), x * width // (width // 2)] for x in range(width // 2)] for y in range(height // 2)]
    )
    labels = np.where(half.max(0) < least, -1, nearest)
    return half, [(index, region) for index in range(count) for region in connected(labels == index)]


def expected_iou(shares: Array, least: float, sam: Any, embedding: torch.Tensor) -> list[float]:
    """Of all regions."""
    half, regions = _regions(shares, least)
    return [_asked(half[index], least, region, sam, embedding)[1] for index, region in regions]


def prompted(shares: Array, least: float, sam: Any, embedding: torch.Tensor, sure: float) -> Array:
    """Probabilities [K, H, W] after the masks that SAM gives for regions, where it expects an IoU above `sure`."""
    half, regions = _regions(shares, least)
    size = (shares.shape[1], shares.shape[2])
    refined, failed = np.zeros_like(shares), np.zeros(size, bool)
    for index, region in regions:
        logits, quality = _asked(half[index], least, region, sam, embedding)
        if quality > sure:
            mask = bilinear(logits[:, :, None], size)[:, :, 0]
            share = shares[index] / (1 + np.exp(-mask))
            refined[index] = np.maximum(refined[index], np.where(mask > 0, share, 0))
        else:
            failed |= region.repeat(2, 0).repeat(2, 1)
    out = np.where(failed, np.maximum(refined, shares), refined)
    return np.where(out.sum(0) == 0, shares, out)
