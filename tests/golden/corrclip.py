"""CorrCLIP (Zhang et al., ICCV 2025) transcribed from its released code: float64, loops over patches and heads.

What is transcribed: the image tower's forward pass, `generate_mask` with SAM 2's generator, `postprocess_result`.
Weights are dicts of arrays under the names of open_clip (`visual.*`) and timm. Regions are labels; the lowest one that
occurs is "the union of unsegmented regions", whatever number it is.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

Array = NDArray[np.float64]
Labels = NDArray[np.int64]
Weights = dict[str, Array]

TAU, ALPHA, BETA, EPSILON = 4.0, 1.0, 0.5, 0.2
SPATIAL = {12: 5, 24: 12, 32: 28}  # blocks of the spatial branch, by depth; four fewer than there are for others


def normed(x: Array, weights: Weights, name: str, epsilon: float) -> Array:
    """Layer norm of tokens [L, width]."""
    scaled = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + epsilon)
    return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def linear(x: Array, weight: Array, bias: Array) -> Array:
    return x @ weight.T + bias


def gelu(x: Array) -> Array:
    return F.gelu(torch.from_numpy(x)).numpy()


def attended(q: Array, k: Array, v: Array, heads: int, allowed: NDArray[np.bool_]) -> Array:
    """Softmax attention of each head, over the pairs that are allowed [L, L]."""
    out = np.zeros_like(v)
    size = v.shape[1] // heads
    for part in (slice(head * size, (head + 1) * size) for head in range(heads)):
        share = np.where(allowed, np.exp(q[:, part] @ k[:, part].T / math.sqrt(size)), 0.0)
        out[:, part] = share / share.sum(1, keepdims=True) @ v[:, part]
    return out


def block(x: Array, weights: Weights, name: str, heads: int, allowed: NDArray[np.bool_]) -> Array:
    """One block of CLIP, GELU without the quick form."""
    width = x.shape[1]
    q, k, v = np.split(
        linear(
            normed(x, weights, f"{name}.ln_1", 1e-5),
            weights[f"{name}.attn.in_proj_weight"],
            weights[f"{name}.attn.in_proj_bias"],
        ),
        [width, 2 * width],
        axis=1,
    )
    mixed = attended(q, k, v, heads, allowed)
    x = x + linear(mixed, weights[f"{name}.attn.out_proj.weight"], weights[f"{name}.attn.out_proj.bias"])
    inner = linear(
        normed(x, weights, f"{name}.ln_2", 1e-5), weights[f"{name}.mlp.c_fc.weight"], weights[f"{name}.mlp.c_fc.bias"]
    )
    return x + linear(gelu(inner), weights[f"{name}.mlp.c_proj.weight"], weights[f"{name}.mlp.c_proj.bias"])


def patch_rows(image: Array, kernel: Array) -> Array:
    """[3, H, W] under a convolution that steps by its own size -> [h*w, width]."""
    maps = F.conv2d(torch.from_numpy(image)[None], torch.from_numpy(kernel), stride=kernel.shape[2])
    return maps[0].flatten(1).T.numpy()


def dino_units(weights: Weights, image: Array, heads: int, depth: int) -> Array:
    """Queries plus keys of DINO's last block, unit vectors [P, width]; the image has the size learned."""
    patches = patch_rows(image, weights["patch_embed.proj.weight"]) + weights["patch_embed.proj.bias"]
    x = np.concatenate([weights["cls_token"][0], patches]) + weights["pos_embed"][0]
    every = np.ones((len(x), len(x)), bool)
    for index in range(depth):
        name = f"blocks.{index}"
        rows = linear(
            normed(x, weights, f"{name}.norm1", 1e-6),
            weights[f"{name}.attn.qkv.weight"],
            weights[f"{name}.attn.qkv.bias"],
        )
        q, k, v = np.split(rows, 3, axis=1)
        if index == depth - 1:
            return np.array([row / np.linalg.norm(row) for row in (q + k)[1:]])
        mixed = attended(q, k, v, heads, every)
        x = x + linear(mixed, weights[f"{name}.attn.proj.weight"], weights[f"{name}.attn.proj.bias"])
        inner = linear(
            normed(x, weights, f"{name}.norm2", 1e-6), weights[f"{name}.mlp.fc1.weight"], weights[f"{name}.mlp.fc1.bias"]
        )
        x = x + linear(gelu(inner), weights[f"{name}.mlp.fc2.weight"], weights[f"{name}.mlp.fc2.bias"])
    raise AssertionError


def painted(masks: list[NDArray[np.bool_]]) -> Labels:
    """Labels [H, W] from masks: the larger lies on top."""
    labels = np.zeros(masks[0].shape, np.int64)
    for number, index in enumerate(sorted(range(len(masks)), key=lambda one: int(masks[one].sum())), start=1):
        labels[masks[index]] = number
    return labels


def nearest(labels: Labels, size: tuple[int, int]) -> Labels:
    """Labels [H, W] at the upper left pixel of each of so many cells."""
    height, width = labels.shape
    return np.array([[labels[y * height // size[0], x * width // size[1]] for x in range(size[1])] for y in range(size[0])])


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


def bilinear(plane: Array, size: tuple[int, int]) -> Array:
    """[h, w, C] -> [H, W, C] with half-pixel centres."""
    maps = torch.from_numpy(plane).permute(2, 0, 1)[None]
    return F.interpolate(maps, size, mode="bilinear")[0].permute(1, 2, 0).numpy()


def patch_vectors(
    weights: Weights, image: Array, heads: int, depth: int, units: Array, regions: Labels, merging: bool = True
) -> Array:
    """Vectors [P, D] in the space of texts on the square grid of `units`; the image has the size learned by CLIP.

    `merging` is commented out in version 2.
    """
    fine = math.isqrt(len(units))
    cells = nearest(regions, (fine, fine)).ravel()
    cells = merged(cells, units) if merging else cells
    shares = attention(units, cells)
    patches = patch_rows(image, weights["visual.conv1.weight"])
    grid = math.isqrt(len(patches))
    coarse = nearest(cells.reshape(fine, fine), (grid, grid)).ravel()
    names = sorted(set(coarse.tolist()))
    x = np.concatenate([weights["visual.class_embedding"][None], patches]) + weights["visual.positional_embedding"]
    x = normed(x, weights, "visual.ln_pre", 1e-5)
    n = len(names)
    x = np.concatenate([np.repeat(x[:1], n, 0), x])
    allowed = np.zeros((len(x), len(x)), bool)
    allowed[n:, n:] = True
    for row, name in enumerate(names):
        allowed[row, n] = True
        for place, of_patch in enumerate(coarse):
            allowed[row, n + 1 + place] = of_patch == name
    outputs = []
    for index in range(depth):
        x = block(x, weights, f"visual.transformer.resblocks.{index}", heads, allowed)
        outputs.append(x)
    last = f"visual.transformer.resblocks.{depth - 1}"
    width = x.shape[1]

    def averaged(tokens: Array) -> Array:
        values = linear(
            normed(tokens, weights, f"{last}.ln_1", 1e-5),
            weights[f"{last}.attn.in_proj_weight"][2 * width :],
            weights[f"{last}.attn.in_proj_bias"][2 * width :],
        )
        plane = bilinear(values.reshape(grid, grid, width), (fine, fine)).reshape(-1, width)
        out = linear(shares @ plane, weights[f"{last}.attn.out_proj.weight"], weights[f"{last}.attn.out_proj.bias"])
        return normed(out, weights, "visual.ln_post", 1e-5)

    first = depth - 2 - SPATIAL.get(depth, max(1, depth - 4))
    earlier = np.mean([outputs[index][n + 1 :] for index in range(max(first, 0), depth - 2)], axis=0)
    semantic = normed(outputs[-1][:n], weights, "visual.ln_post", 1e-5)
    place_of = nearest(coarse.reshape(grid, grid), (fine, fine)).ravel()
    of_region = np.array([semantic[names.index(name)] for name in place_of])
    total = averaged(outputs[-2][n + 1 :]) + ALPHA * averaged(earlier) + BETA * of_region
    return total @ weights["visual.proj"]


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
