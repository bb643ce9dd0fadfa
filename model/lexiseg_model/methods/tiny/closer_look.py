"""Encode an enlarged crop around a small box prompt, for a sharper mask.

At the network's input size a small object covers a few cells, and its mask is equally coarse. So a crop twice as wide
and high as the box is enlarged and encoded, and its masks are mapped back to the cells of the whole image. The latest
crops are cached with the features: correcting a box by points encodes nothing again.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.features import Features, Plan
from lexiseg_model.lru import Lru
from lexiseg_model.methods.tiny.network import STRIDE
from lexiseg_model.methods.tiny.prompting import is_exact
from lexiseg_model.methods.tiny.resizing import resize_to
from lexiseg_model.methods.tiny.settings import LookRule
from lexiseg_model.types import Point, Prompt

KEPT = 2  # largest side of the kept picture, in sides of the network's input
MAX_LOOKS = 4  # crops cached with an image, 1.5 MB each
MIN_SIDE = 64.0  # pixels of the network's input; the smallest crop has the area of such a square
NOWHERE = -8.0  # logits outside the crop

Size = tuple[int, int]  # (height, width)


class Crop(NamedTuple):
    """A crop of the kept picture, in its pixels, and the (height, width) of the network's input made of it."""

    top: int
    left: int
    bottom: int
    right: int
    input: Size

    @property
    def size(self) -> Size:
        return self.bottom - self.top, self.right - self.left


def kept_picture(rgb: NDArray[np.uint8], tile: Size) -> NDArray[np.uint8]:
    """A copy of the image [H, W, 3], shrunk to KEPT times the sides of its tile if it is larger."""
    height, width = (KEPT * side for side in tile)
    if height * width >= rgb.shape[0] * rgb.shape[1]:
        return rgb.copy()
    # Every request pays for this: area averaging only where it matters.
    is_near = 2 * height >= rgb.shape[0] and 2 * width >= rgb.shape[1]
    method = cv2.INTER_LINEAR if is_near else cv2.INTER_AREA
    return np.asarray(cv2.resize(rgb, (width, height), interpolation=method), np.uint8)


def cells_of(whole: Features) -> Size:
    """(h, w) of an image's cells at STRIDE."""
    return whole.tensors["pixels"].shape[1], whole.tensors["pixels"].shape[2]


def _kept_size(whole: Features) -> Size:
    return whole.tensors["picture"].shape[0], whole.tensors["picture"].shape[1]


def encode_crop(crop: Crop, whole: Features, encode: Callable[[Plan], Features]) -> Features:
    """The features of a crop of an image, cached with those of the whole image."""
    cache = whole.derived.once("looks", lambda: Lru[Crop, Features](MAX_LOOKS))
    features = cache.get(crop)
    if features is None:
        pixels = whole.tensors["picture"][crop.top : crop.bottom, crop.left : crop.right].contiguous()
        features = encode(Plan(crop.size, resize_to(pixels.numpy(), crop.input)[None]))
        cache.put(crop, features)
    return features


def crop_for(prompt: Prompt, whole: Features, multiple: int, rule: LookRule) -> Crop | None:
    """The crop around the box of a prompt; None without a box, or if it would be enlarged too little."""
    if prompt.box is None or prompt.glance or not is_exact(prompt):
        return None
    tile, kept = [STRIDE * side for side in cells_of(whole)], _kept_size(whole)
    # Lengths are in pixels of the tile; `y` and `x` scale those of the image to them.
    y, x = (side / sent for side, sent in zip(tile, whole.size, strict=True))
    x0, y0, x1, y1 = prompt.box
    wide, high = rule.around * max((x1 - x0) * x, 1.0), rule.around * max((y1 - y0) * y, 1.0)
    width, height = max(wide, high / 2), max(high, wide / 2)  # one side is at most twice the other
    growth = max(1.0, MIN_SIDE / math.sqrt(width * height))
    width, height = min(width * growth, tile[1]), min(height * growth, tile[0])
    zoom = min(rule.most, rule.side / math.sqrt(width * height), max(tile) / max(width, height))
    if zoom < rule.least:
        return None
    left, right = _span((x0 + x1) / 2 * x, width, tile[1], kept[1])
    top, bottom = _span((y0 + y1) / 2 * y, height, tile[0], kept[0])
    sides = (bottom - top) * tile[0] / kept[0], (right - left) * tile[1] / kept[1]
    rows, columns = (max(multiple, round(side * zoom / multiple) * multiple) for side in sides)
    return Crop(top, left, bottom, right, (rows, columns))


def _span(middle: float, length: float, tile_side: int, kept_side: int) -> tuple[int, int]:
    """Start and end, in pixels of the kept picture, of a length around a coordinate of the tile."""
    first = min(max(middle - length / 2, 0.0), tile_side - length)
    start = round(first * kept_side / tile_side)
    return start, min(kept_side, start + math.ceil(length * kept_side / tile_side))


def to_crop(prompt: Prompt, whole: Features, crop: Crop) -> Prompt:
    """A prompt in pixels of the crop, without the points outside it."""
    y_scale, x_scale = (kept / sent for kept, sent in zip(_kept_size(whole), whole.size, strict=True))
    height, width = crop.size

    def move(x: float, y: float) -> tuple[float, float]:
        return x * x_scale - crop.left, y * y_scale - crop.top

    points = tuple(Point(*move(point.x, point.y), point.positive) for point in prompt.points)
    inside = tuple(point for point in points if 0 <= point.x <= width and 0 <= point.y <= height)
    assert prompt.box is not None
    return replace(prompt, points=inside, box=move(*prompt.box[:2]) + move(*prompt.box[2:]))


def to_image_cells(masks: Tensor, crop: Crop, whole: Features) -> Tensor:
    """Logits [M, a, b] of a crop -> [M, h, w] of the whole image, by area averaging; NOWHERE outside the crop."""
    y, x = (side / kept for side, kept in zip(cells_of(whole), _kept_size(whole), strict=True))
    cells = [torch.arange(side) for side in cells_of(whole)]
    rows = shares(cells[0], masks.shape[1], crop.top * y, crop.bottom * y).to(masks.device)
    columns = shares(cells[1], masks.shape[2], crop.left * x, crop.right * x).to(masks.device)
    covered = (rows.sum(1) > 0)[:, None] & (columns.sum(1) > 0)
    return torch.where(covered, rows @ masks.float() @ columns.T, NOWHERE)


def shares(cells: Tensor, parts: int, first: float | Tensor, end: float | Tensor) -> Tensor:
    """Weights [n, parts]: the share of each of these cells [n] that each of `parts` equal parts of a span covers.

    The span is from `first` to `end`, in cells, in float64.
    """
    bounds = first + (end - first) * torch.arange(parts + 1, dtype=torch.float64) / parts
    cell = cells[:, None].double()
    covered = (torch.minimum(bounds[1:], cell + 1) - torch.maximum(bounds[:-1], cell)).clamp_min(0)
    return (covered / covered.sum(1, keepdim=True).clamp_min(1e-9)).float()
