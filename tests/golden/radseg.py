"""RADSeg (Alama et al., arXiv 2511.19704) over C-RADIO read off its formulas: loops over heads, float64.

Weights are those of C-RADIO's own checkpoint, in its names.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

Array = NDArray[np.float64]
State = dict[str, Array]

PATCH = 16


def softmax(values: Array, axis: int = -1) -> Array:
    raised = np.exp(values - values.max(axis, keepdims=True))
    return np.asarray(raised / raised.sum(axis, keepdims=True))


def unit(vectors: Array) -> Array:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def gelu(values: Array) -> Array:
    return np.asarray(values * (1 + erf(values / math.sqrt(2))) / 2)


def linear(state: State, name: str, values: Array) -> Array:
    return values @ state[f"{name}.weight"].T + state[f"{name}.bias"]


def norm(state: State, name: str, values: Array, epsilon: float) -> Array:
    centred = values - values.mean(-1, keepdims=True)
    return centred / np.sqrt(values.var(-1, keepdims=True) + epsilon) * state[f"{name}.weight"] + state[f"{name}.bias"]


def bilinear(maps: Array, size: tuple[int, int]) -> Array:
    """[h, w, C] -> [H, W, C], half-pixel centres."""
    for axis, length in enumerate(size):
        old = maps.shape[axis]
        at = np.clip((np.arange(length) + 0.5) * old / length - 0.5, 0, old - 1)
        low = np.floor(at).astype(int)
        share = (at - low).reshape([-1 if n == axis else 1 for n in range(3)])
        maps = np.take(maps, low, axis) * (1 - share) + np.take(maps, np.minimum(low + 1, old - 1), axis) * share
    return maps


def attention(state: State, name: str, tokens: Array, heads: int, *, recursive: bool) -> Array:
    query, key, value = np.split(linear(state, f"{name}.qkv", tokens), 3, axis=1)
    width = tokens.shape[1] // heads
    parts = [slice(head * width, (head + 1) * width) for head in range(heads)]
    seen = [softmax(query[:, own] @ key[:, own].T / math.sqrt(width)) @ value[:, own] for own in parts]
    out = linear(state, f"{name}.proj", np.concatenate(seen, 1))
    if not recursive:
        return out
    again = []
    for own in parts:
        likeness = 10 * unit(out[:, own]) @ unit(out[:, own]).T
        again.append(softmax(np.where(likeness < 0, -np.inf, likeness)) @ value[:, own])
    return linear(state, f"{name}.proj", np.concatenate(again, 1))


def backbone(state: State, window: Array, heads: int) -> Array:
    """Patches [h, w, C] of a window [H, W, 3] of colours in 0..1."""
    rows, columns = window.shape[0] // PATCH, window.shape[1] // PATCH
    mean, std = (state[f"input_conditioner.norm_{what}"].reshape(3) for what in ("mean", "std"))
    image = ((window - mean) / std).transpose(2, 0, 1)
    patches = np.array(
        [
            image[:, PATCH * y : PATCH * (y + 1), PATCH * x : PATCH * (x + 1)].ravel()
            for y in range(rows)
            for x in range(columns)
        ]
    )
    positions = state["base_model.patch_generator.pos_embed"][0]
    side = math.isqrt(len(positions))
    longest = max(rows, columns)
    square = bilinear(positions.reshape(side, side, -1), (longest, longest))
    tokens = patches @ state["base_model.patch_generator.embedder.weight"].T
    tokens = tokens + square[:rows, :columns].reshape(len(tokens), -1)
    before = state["base_model.patch_generator.cls_token.token"]
    tokens = np.concatenate([before, tokens])
    n_blocks = len({name.split(".")[2] for name in state if name.startswith("base_model.blocks.")})
    for index in range(n_blocks):
        block = f"base_model.blocks.{index}"
        entering = norm(state, f"{block}.norm1", tokens, 1e-6)
        tokens = tokens + attention(state, f"{block}.attn", entering, heads, recursive=index == n_blocks - 1)
        hidden = gelu(linear(state, f"{block}.mlp.fc1", norm(state, f"{block}.norm2", tokens, 1e-6)))
        tokens = tokens + linear(state, f"{block}.mlp.fc2", hidden)
    return tokens[len(before) :].reshape(rows, columns, -1)


def head(state: State, name: str, patches: Array) -> Array:
    hidden = linear(state, f"{name}.fc1", patches)
    n_blocks = len({each.split(".")[3] for each in state if each.startswith(f"{name}.blocks.")})
    for index in range(n_blocks):
        block = f"{name}.blocks.{index}"
        hidden = hidden + linear(state, f"{block}.2", gelu(norm(state, f"{block}.0", hidden, 1e-5)))
    return linear(state, f"{name}.final.2", gelu(norm(state, f"{name}.final.0", hidden, 1e-5)))


def probabilities(
    state: State, name: str, picture: Array, texts: Array, heads: int, window: int, stride: int, size: tuple[int, int]
) -> Array:
    """[H, W, T] of a picture [h, w, 3] in 0..1 and texts [T, D]; a text below a half everywhere has none.

    Windows begin `stride` pixels apart, the last ones end with the picture; all divide by 16.
    """
    height, width = picture.shape[:2]
    summed: Array = np.zeros((height // PATCH, width // PATCH, 1))
    count = np.zeros_like(summed)
    for top in sorted({min(y, height - window) for y in range(0, height - window + stride, stride)}):
        for left in sorted({min(x, width - window) for x in range(0, width - window + stride, stride)}):
            own = backbone(state, picture[top : top + window, left : left + window], heads)
            there = np.zeros((*count.shape[:2], own.shape[2]))
            rows, columns = slice(top // PATCH, (top + window) // PATCH), slice(left // PATCH, (left + window) // PATCH)
            there[rows, columns] = own
            summed = summed + there
            count[rows, columns] += 1
    patches = (summed / count).reshape(-1, summed.shape[2])
    likeness = unit(patches) @ unit(patches).T
    likeness = 10 * (likeness - likeness.mean())
    patches = softmax(np.where(likeness < 0, -np.inf, likeness)) @ patches
    cosines = unit(head(state, name, patches)) @ unit(texts).T
    shares = bilinear(softmax(100 * cosines).reshape(*count.shape[:2], -1), size)
    return np.where(shares.max((0, 1)) < 0.5, 0.0, shares)
