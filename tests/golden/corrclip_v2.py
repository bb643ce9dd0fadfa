"""CorrCLIP v2 transcribed from its released code, in float64 with loops over regions and pixels.

What is transcribed: `forward_slide` with `get_support_clip_logits` (one bank), and what `memory_bank_builder` keeps of a
picture. The forward pass of a window is version 1's without merging (`corrclip.patch_vectors`). Maps are [h, w, C].
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tests.golden.corrclip import Array, Labels, bilinear

NUM_SUPPORT, FUSED = 20, 0.5


def units(rows: Array) -> Array:
    """Rows [..., C] at unit length."""
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def pixel_units(dense: Array, size: tuple[int, int]) -> Array:
    """The second tower's map at the size of the canvas, a unit vector for each pixel."""
    return units(bilinear(dense, size))


def window_units(pixels: Array, pad: tuple[int, int, int, int], grid: tuple[int, int]) -> Array:
    """A window's part of `pixel_units` with its border repeated (left, right, top, bottom), on a grid: [P, C]."""
    left, right, top, bottom = pad
    wide = np.pad(pixels, ((top, bottom), (left, right), (0, 0)), mode="edge")
    return units(bilinear(wide, grid).reshape(-1, pixels.shape[2]))


def queries(pixels: Array, labels: Labels) -> Array:
    """A query for each label of the canvas, the lowest one too: [R, C]."""
    return np.array([units(pixels[labels == name].mean(0)) for name in np.unique(labels)])


def support_logits(asked: Array, keys: Array, values: Array, texts: Array, labels: Labels) -> Array:
    """Scores [T, H, W] of texts [T, D] by the bank's regions."""
    out = np.zeros((len(texts), *labels.shape))
    for query, name in zip(asked, np.unique(labels), strict=True):
        similar = [float(query @ key) for key in units(keys)]
        nearest = sorted(range(len(keys)), key=lambda one: -similar[one])[:NUM_SUPPORT]
        mean = units(np.mean([values[index] for index in nearest], axis=0))
        out[:, labels == name] = (texts @ mean)[:, None]
    return out


def fused(own: Array, support: Array) -> Array:
    """Scores [T, H, W] of a picture's windows and of the bank."""
    return own * FUSED + support * (1 - FUSED)


def bank_keys(dense: Array, regions: Labels) -> NDArray[np.float64]:
    """Means of each region's pixels at the picture's own size; 0 is no region."""
    pixels = pixel_units(dense, (regions.shape[0], regions.shape[1]))
    return np.array([pixels[regions == name].mean(0) for name in np.unique(regions) if name])


def bank_values(canvas: Array, regions: Labels) -> NDArray[np.float64]:
    """The same of CLIP's vectors [h, w, D], which windows give the canvas, at unit length."""
    pixels = bilinear(canvas, (regions.shape[0], regions.shape[1]))
    return np.array([units(pixels[regions == name].mean(0)) for name in np.unique(regions) if name])
