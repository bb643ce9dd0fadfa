"""Encode an enlarged crop around a small box prompt, for a sharper mask.

A crop twice as wide and high as the box is enlarged and encoded, and its masks are mapped back. The latest crops are
cached with the features: correcting a box by points encodes nothing again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.features import Features, Plan
from lexiseg_model.methods.tiny.mask_rules import is_exact
from lexiseg_model.methods.tiny.network import STRIDE
from lexiseg_model.methods.tiny.picture import resize_to
from lexiseg_model.methods.tiny.settings import LookRule
from lexiseg_model.resources.lru import Lru
from lexiseg_model.types import Point, Prompt

MAX_LOOKS = 4  # crops cached with an image, 1.5 MB each
MIN_SIDE = 64.0  # pixels of the network's input; the smallest crop has the area of such a square
NOWHERE = -8.0  # logits outside the crop

Size = tuple[int, int]  # (height, width)
BLOCK = 8  # cells: the head's maps are halved three times
MARGIN = 0.15  # around a box, in sides of it
MIN_MARGIN = 32.0  # pixels of the network's input


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


def cells_of(whole: Features) -> Size:
    """(h, w) of an image's cells at STRIDE."""
    return whole.tensors["pixels"].shape[1], whole.tensors["pixels"].shape[2]


def _kept_size(whole: Features) -> Size:
    return whole.tensors["picture"].shape[0], whole.tensors["picture"].shape[1]


def encode_crop(crop: Crop, whole: Features, encode: Callable[[Plan], Features]) -> Features:
    """The features of a crop of an image, cached with the whole image's."""
    cache = whole.derived.once("looks", lambda: Lru[Crop, Features](MAX_LOOKS))
    features = cache.get(crop)
    if features is None:
        pixels = whole.tensors["picture"][crop.top : crop.bottom, crop.left : crop.right].contiguous()
        features = encode(Plan(crop.size, resize_to(pixels.numpy(), crop.input)[None]))
        cache.put(crop, features)
    return features


def crop_for(prompt: Prompt, whole: Features, multiple: int, rule: LookRule) -> Crop | None:
    """The crop around the box of a prompt; None without a box, or if it would be enlarged too little."""
    if prompt.box is None or prompt.single_pass or not is_exact(prompt):
        return None
    numbers = (prompt.box, whole.size, [STRIDE * side for side in cells_of(whole)], _kept_size(whole))
    box, size, tile, picture = (torch.tensor(each, dtype=torch.float64) for each in numbers)
    span, shape, is_enough = look_at(box, size, tile, picture, multiple, rule)
    if not is_enough:
        return None
    (top, left, bottom, right), (rows, columns) = map(int, span), map(int, shape)
    return Crop(top, left, bottom, right, (rows, columns))


def look_at(
    box: Tensor, size: Tensor, tile: Tensor, picture: Tensor, multiple: int, rule: LookRule
) -> tuple[Tensor, Tensor, Tensor]:
    """Choose the crop around a box [4] of the image, in tensor operations, so that an exported graph can do the same.

    Sizes [2] are (height, width). Of the crop: top, left, bottom and right [4] in the kept picture; the shape [2] of
    the network's input, of a `multiple`; and whether [] it enlarges enough.
    """
    ends = box.view(2, 2).flip(1) * tile / size  # [2, 2] (y, x) in pixels of the tile
    sides = rule.around * (ends[1] - ends[0]).clamp_min(1.0)
    sides = sides.maximum(sides.flip(0) / 2)  # one side is at most twice the other
    sides = (sides * (MIN_SIDE / (sides[0] * sides[1]).sqrt()).clamp_min(1.0)).minimum(tile)
    zoom = (rule.side / (sides[0] * sides[1]).sqrt()).minimum(tile.amax(0) / sides.amax(0)).clamp_max(rule.max_zoom)
    first = ((ends.mean(0) - sides / 2).clamp_min(0.0).minimum(tile - sides) * picture / tile).round()
    last = (first + (sides * picture / tile).ceil()).minimum(picture)
    shape = multiple * ((last - first) * tile / picture * zoom / multiple).round().clamp_min(1.0)
    return torch.cat([first, last]), shape, zoom >= rule.min_zoom


def to_crop(prompt: Prompt, whole: Features, crop: Crop) -> Prompt:
    """A prompt in pixels of the crop, without the points outside it."""
    assert prompt.box is not None
    x0, y0, x1, y1 = prompt.box
    places = torch.tensor([(x0, y0), (x1, y1), *((point.x, point.y) for point in prompt.points)], dtype=torch.float64)
    sizes = (torch.tensor(size, dtype=torch.float64) for size in (crop[:4], whole.size, _kept_size(whole)))
    moved, is_inside = in_crop(places, *sizes)
    box = moved[:2].flatten().tolist()
    points = zip(prompt.points, moved[2:].tolist(), is_inside[2:].tolist(), strict=True)
    inside = tuple(Point(x, y, point.positive) for point, (x, y), is_inside in points if is_inside)
    return replace(prompt, points=inside, box=(box[0], box[1], box[2], box[3]))


def in_crop(places: Tensor, span: Tensor, size: Tensor, picture: Tensor) -> tuple[Tensor, Tensor]:
    """Places [N, 2] (x, y) of an image of `size` [2] in pixels of a crop, its `span` [4], and whether each lies in it
    [N]."""
    moved = places * (picture / size).flip(0) - span[:2].flip(0)
    return moved, ((moved >= 0) & (moved <= (span[2:] - span[:2]).flip(0))).all(1)


def to_image_cells(masks: Tensor, crop: Crop, whole: Features) -> Tensor:
    """Logits [M, a, b] of a crop -> [M, h, w] of the whole image, by area averaging; NOWHERE outside the crop."""
    y, x = (side / whole_side for side, whole_side in zip(cells_of(whole), _kept_size(whole), strict=True))
    cells = [torch.arange(side) for side in cells_of(whole)]
    rows = shares(cells[0], masks.shape[1], crop.top * y, crop.bottom * y).to(masks.device)
    columns = shares(cells[1], masks.shape[2], crop.left * x, crop.right * x).to(masks.device)
    covered = (rows.sum(1) > 0)[:, None] & (columns.sum(1) > 0)
    return torch.where(covered, rows @ masks.float() @ columns.T, NOWHERE)


def shares(cells: Tensor, parts: int, first: float | Tensor, end: float | Tensor) -> Tensor:
    """Weights [n, parts] float64: the share of each cell [n] that equal parts of a span, `first` to `end`, cover."""
    bounds = first + (end - first) * torch.arange(parts + 1, dtype=torch.float64) / parts
    cell = cells[:, None].double()
    covered = (torch.minimum(bounds[1:], cell + 1) - torch.maximum(bounds[:-1], cell)).clamp_min(0)
    return (covered / covered.sum(1, keepdim=True).clamp_min(1e-9)).float()


class Part(NamedTuple):
    """Rows and columns of an image's cells (h, w) at STRIDE."""

    rows: slice
    columns: slice
    cells: Size

    def of(self, whole: Features) -> Features:
        """The features of this part, as of an image of the size of its input."""
        rows, columns = self.rows, self.columns
        size = (STRIDE * (rows.stop - rows.start), STRIDE * (columns.stop - columns.start))
        guide_rows, guide_columns = (slice(2 * side.start, 2 * side.stop) for side in (rows, columns))
        pixels = whole.tensors["pixels"][:, rows, columns].contiguous()
        guide = whole.tensors["guide"][:, guide_rows, guide_columns].contiguous()
        return Features(size, {"pixels": pixels, "guide": guide})

    def moved(self, prompt: Prompt, scale: tuple[float, float]) -> Prompt:
        """A prompt about a box, in pixels of the network's input of this part; `scale` is theirs per pixel."""
        assert prompt.box is not None
        (x, y), (x0, y0, x1, y1) = scale, prompt.box
        left, top = STRIDE * self.columns.start, STRIDE * self.rows.start
        return replace(prompt, box=(x * x0 - left, y * y0 - top, x * x1 - left, y * y1 - top))

    def widened(self, masks: Tensor) -> Tensor:
        """Logits [M, a, b] of this part -> [M, h, w] of the whole image; NOWHERE outside."""
        (height, width), rows, columns = self.cells, self.rows, self.columns
        margins = (columns.start, width - columns.stop, rows.start, height - rows.stop)
        return F.pad(masks, margins, value=NOWHERE)


def around(boxes: NDArray[np.float64], cells: Size) -> Part:
    """The part of an image of so many cells around boxes [N, 4] in pixels of the network's input."""
    margins = np.maximum(MARGIN * (boxes[:, 2:] - boxes[:, :2]), MIN_MARGIN)
    low, high = (boxes[:, :2] - margins).min(0), (boxes[:, 2:] + margins).max(0)
    left, top = (BLOCK * np.floor(low / (STRIDE * BLOCK)).clip(0)).astype(int).tolist()
    right, bottom = np.minimum(BLOCK * np.ceil(high / (STRIDE * BLOCK)), cells[::-1]).astype(int).tolist()
    return Part(slice(top, bottom), slice(left, right), cells)
