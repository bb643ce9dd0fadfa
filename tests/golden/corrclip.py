"""CorrCLIP (Zhang et al., ICCV 2025) transcribed from its released code: float64, loops over regions and patches.

What is transcribed: the image tower's forward pass over open_clip's blocks, `generate_mask` with SAM 2's generator,
`postprocess_result`. Regions are labels; the lowest one that occurs is "the union of unsegmented regions", whatever
number it is.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from tests.golden.trident import nearest

Array = NDArray[np.float64]
Labels = NDArray[np.int64]

TAU, ALPHA, BETA, EPSILON = 4.0, 1.0, 0.5, 0.2
SPATIAL = {12: 5, 24: 12, 32: 28}  # blocks of the spatial branch, by depth; four fewer than there are for others


def painted(masks: list[NDArray[np.bool_]]) -> Labels:
    """Labels [H, W] from masks: the larger lies on top."""
    labels = np.zeros(masks[0].shape, np.int64)
    for number, index in enumerate(sorted(range(len(masks)), key=lambda one: int(masks[one].sum())), start=1):
        labels[masks[index]] = number
    return labels


def merged(cells: Labels, units: Array) -> Labels:
    """Mask Merging: DBSCAN over regions, each point a core; merged regions get labels above all others."""
    names = sorted(set(cells.tolist()))
    if len(names) <= 2:
        return cells.copy()
    means = [units[cells == name].mean(0) for name in names[1:]]
    means = [mean / np.linalg.norm(mean) for mean in means]
    similar = np.array([[mean @ other for other in means] for mean in means])
    distance = similar.max() - similar
    cluster = [-1] * len(means)
    count = 0
    for first in range(len(means)):
        if cluster[first] >= 0:
            continue
        waiting = [first]
        while waiting:
            point = waiting.pop()
            if cluster[point] < 0:
                cluster[point] = count
                waiting += [other for other in range(len(means)) if distance[point, other] <= EPSILON]
        count += 1
    out = cells.copy()
    for name, one in zip(names[1:], cluster, strict=True):
        out[cells == name] = one + 10000
    return out


def attention(units: Array, cells: Labels) -> Array:
    """Scope Reconstruction [P, P]: who is averaged by whom."""
    similarity = units @ units.T
    above = similarity > similarity.mean()
    scope = np.zeros(similarity.shape, bool)
    first, *others = sorted(set(cells.tolist()))
    for name in others:
        inside = cells == name
        scope |= np.outer(inside, inside)
    outside = cells == first
    scope |= (outside[None] | outside[:, None]) & above
    weights = np.where(scope, np.exp(TAU * similarity), 0.0)
    return weights / weights.sum(1, keepdims=True)


def patch_vectors(visual: Any, image: Tensor, units: Array, regions: Labels) -> Array:
    """Vectors [P, D] in the space of texts on the square grid of `units`; the image has the size learned by CLIP.

    `visual` is open_clip's tower, in float64.
    """
    fine = math.isqrt(len(units))
    cells = merged(nearest(regions, (fine, fine)).ravel(), units)
    shares = torch.from_numpy(attention(units, cells))
    patches = visual.conv1(image[None]).flatten(2)[0].T
    grid = math.isqrt(len(patches))
    coarse = nearest(cells.reshape(fine, fine), (grid, grid)).ravel()
    names = sorted(set(coarse.tolist()))
    x = visual.ln_pre(torch.cat([visual.class_embedding[None], patches]) + visual.positional_embedding)
    n = len(names)
    x = torch.cat([x[:1].expand(n, -1), x])
    allowed = torch.zeros(len(x), len(x), dtype=torch.bool)
    allowed[n:, n:] = True
    for row, name in enumerate(names):
        allowed[row, n] = True
        for place, of_patch in enumerate(coarse):
            allowed[row, n + 1 + place] = bool(of_patch == name)
    mask = torch.zeros(len(x), len(x), dtype=x.dtype).masked_fill(~allowed, -math.inf)
    outputs = []
    for block in visual.transformer.resblocks:
        x = block(x[None], attn_mask=mask)[0]
        outputs.append(x)
    last, width, depth = visual.transformer.resblocks[-1], x.shape[1], len(outputs)

    def averaged(tokens: Tensor) -> Tensor:
        weight, bias = last.attn.in_proj_weight[2 * width :], last.attn.in_proj_bias[2 * width :]
        plane = F.linear(last.ln_1(tokens), weight, bias).T.reshape(1, width, grid, grid)
        values = F.interpolate(plane, (fine, fine), mode="bilinear")[0].flatten(1).T
        return visual.ln_post(last.attn.out_proj(shares @ values))  # type: ignore[no-any-return]

    first = depth - 2 - SPATIAL.get(depth, max(1, depth - 4))
    earlier = torch.stack([outputs[index][n + 1 :] for index in range(max(first, 0), depth - 2)]).mean(0)
    semantic = visual.ln_post(outputs[-1][:n])
    place_of = nearest(coarse.reshape(grid, grid), (fine, fine)).ravel()
    of_region = torch.stack([semantic[names.index(name)] for name in place_of])
    total = averaged(outputs[-2][n + 1 :]) + ALPHA * averaged(earlier) + BETA * of_region
    return (total @ visual.proj).numpy()  # type: ignore[no-any-return]


def corrected(labels: Labels, regions: Labels) -> Labels:
    """Map Correction: each region but the first takes the label of most of its pixels, the lowest of equal ones."""
    out = labels.copy()
    for name in sorted(set(regions.ravel().tolist()))[1:]:
        votes = np.bincount(labels[regions == name])
        out[regions == name] = int(votes.argmax())
    return out


def generated(logits: Array, quality: Array) -> list[int]:
    """Which masks [N, H, W] of a picture SAM 2's generator keeps with CorrCLIP's settings, the best first."""
    boxes: dict[int, tuple[int, int, int, int]] = {}
    for index in range(len(logits)):
        sure, possible = int((logits[index] > 1).sum()), int((logits[index] > -1).sum())
        if quality[index] > 0.4 and possible and sure / possible >= 0.4:
            y, x = np.nonzero(logits[index] > 0)
            boxes[index] = (x.min(), y.min(), x.max(), y.max()) if len(x) else (0, 0, 0, 0)
    kept: list[int] = []
    for index in sorted(boxes, key=lambda one: -quality[one]):
        x0, y0, x1, y1 = boxes[index]
        for other in kept:
            u0, v0, u1, v1 = boxes[other]
            both = max(0, min(x1, u1) - max(x0, u0)) * max(0, min(y1, v1) - max(y0, v0))
            union = (x1 - x0) * (y1 - y0) + (u1 - u0) * (v1 - v0) - both
            if union and both / union > 0.7:
                break
        else:
            kept.append(index)
    return kept
