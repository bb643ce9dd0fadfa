"""Deterministic inputs for the golden fixtures (numpy only, integer arithmetic wherever a rounding could differ).

Everything is a function of (seed, name, shape); the names used by the fixtures are listed in README.md.
"""
from __future__ import annotations

import hashlib

import numpy as np

from tests.golden.golden_weights import noise

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CLIP_MEAN_255, CLIP_STD_255 = (122.771, 116.746, 104.094), (68.501, 66.632, 70.323)


def _bits(seed: int, name: str, count: int) -> np.ndarray:
    key = int.from_bytes(hashlib.sha256(f"{seed}:{name}".encode()).digest()[:8], "little")
    return np.random.PCG64(np.random.SeedSequence([seed, key])).random_raw(count)


def integers(seed: int, name: str, shape: tuple[int, ...], low: int, high: int) -> np.ndarray:
    """int64 values in [low, high)."""
    raw = _bits(seed, name, int(np.prod(shape)))
    return low + ((raw >> np.uint64(11)) % np.uint64(high - low)).astype(np.int64).reshape(shape)


def uniform(seed: int, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """float32 values (k + 0.5) / 2**23 strictly inside (0, 1); exact."""
    raw = _bits(seed, name, int(np.prod(shape))) >> np.uint64(41)
    return ((raw.astype(np.float64) + 0.5) / 2.0**23).astype(np.float32).reshape(shape)


def normal(seed: int, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """float32 bell-shaped noise of mean 0 and variance 1 (see golden_weights.noise)."""
    return noise(seed, "input/" + name, shape).astype(np.float32)


def unit_vectors(seed: int, name: str, count: int, width: int) -> np.ndarray:
    """float32 rows of length one."""
    rows = noise(seed, "input/" + name, (count, width))
    return (rows / np.sqrt((rows * rows).sum(-1, keepdims=True))).astype(np.float32)


def image(seed: int, name: str, height: int, width: int) -> np.ndarray:
    """uint8 RGB [height, width, 3]: smooth colour field, eight ellipses with hard edges, faint texture."""
    cell = 32
    rows, columns = height // cell + 2, width // cell + 2
    grid = integers(seed, name + "/field", (rows, columns, 3), 20, 236)
    y, x = np.arange(height), np.arange(width)
    gy, fy, gx, fx = y // cell, (y % cell)[:, None, None], x // cell, (x % cell)[None, :, None]
    top = grid[gy][:, gx] * (cell - fx) + grid[gy][:, gx + 1] * fx
    bottom = grid[gy + 1][:, gx] * (cell - fx) + grid[gy + 1][:, gx + 1] * fx
    out = (top * (cell - fy) + bottom * fy) // (cell * cell)
    parameters = integers(seed, name + "/ellipses", (8, 7), 0, 1 << 16)
    for cy, cx, ry, rx, *colour in parameters.tolist():
        cy, cx = cy * height >> 16, cx * width >> 16
        ry, rx = 8 + (ry * height >> 18), 8 + (rx * width >> 18)
        inside = ((y - cy) * rx)[:, None] ** 2 + ((x - cx) * ry)[None, :] ** 2 <= (rx * ry) ** 2
        out[inside] = (out[inside] + 3 * (np.array(colour) >> 8)) // 4
    out = out + integers(seed, name + "/texture", (height, width, 3), -6, 7)
    return np.clip(out, 0, 255).astype(np.uint8)


def blob_masks(seed: int, name: str, count: int, height: int, width: int) -> np.ndarray:
    """uint8 0/1 masks [count, height, width], one ellipse each."""
    y, x = np.arange(height), np.arange(width)
    out = np.zeros((count, height, width), np.uint8)
    for index, (cy, cx, ry, rx) in enumerate(integers(seed, name, (count, 4), 0, 1 << 16).tolist()):
        cy, cx = cy * height >> 16, cx * width >> 16
        ry, rx = height // 12 + (ry * height >> 18), width // 12 + (rx * width >> 18)
        out[index] = ((y - cy) * rx)[:, None] ** 2 + ((x - cx) * ry)[None, :] ** 2 <= (rx * ry) ** 2
    return out


def normalise(pixels: np.ndarray, mean: tuple[float, ...], std: tuple[float, ...], scale: float = 1.0) -> np.ndarray:
    """uint8 RGB [H, W, 3] -> float32 [1, 3, H, W]: (pixels / scale - mean) / std in float64, rounded once."""
    value = (pixels.astype(np.float64) / scale - np.array(mean)) / np.array(std)
    return np.ascontiguousarray(value.transpose(2, 0, 1)[None]).astype(np.float32)


def digest(array: np.ndarray) -> str:
    """SHA-256 of the raw bytes."""
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
