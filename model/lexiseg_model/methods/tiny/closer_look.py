"""A second, enlarged image pass around a small box.

At the size of the network's input a small object covers a few cells, and its mask is as coarse as they are. So a part
of the image twice as wide and high as the box is enlarged, encoded and asked, and its masks are mapped back to the
cells of the whole image. The last parts are cached with the features: correcting a box by points encodes nothing again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.features import Derived, Features
from lexiseg_model.lru import Lru
from lexiseg_model.methods.tiny.asking import is_exact
from lexiseg_model.methods.tiny.image_pass import brought_to
from lexiseg_model.methods.tiny.network import STRIDE
from lexiseg_model.methods.tiny.settings import LookRule
from lexiseg_model.segmenter import PromptMasks
from lexiseg_model.types import Point, Prompt

KEPT = 2  # pixels per side of the kept picture for one of the network's input, at most
MAX_LOOKS = 4  # cached with an image, 1.5 MB each
MIN_SIDE = 64.0  # pixels of the network's input; the smallest part has the area of such a square
NOWHERE = -8.0  # logits beyond the part

Size = tuple[int, int]  # (height, width)
Encode = Callable[[NDArray[np.uint8], Size], Features]  # of a part of that size, by its tile
Answer = Callable[[Features, Sequence[Prompt]], list[PromptMasks]]  # to prompts in a part


class Whole(NamedTuple):
    """An image: its `size` as sent, the kept `picture` [H, W, 3], its `cells` (h, w) at STRIDE, and its caches."""

    size: Size
    picture: Tensor
    cells: Size
    derived: Derived

    @property
    def kept(self) -> Size:
        """Of the picture."""
        return self.picture.shape[0], self.picture.shape[1]


class Look(NamedTuple):
    """A part of the kept picture, rows `top` to `bottom` and columns `left` to `right`, and the input made of it."""

    top: int
    left: int
    bottom: int
    right: int
    input: Size

    @property
    def size(self) -> Size:
        return self.bottom - self.top, self.right - self.left


class Looks(Lru[Look, Features]):
    """The features of the parts that were encoded last; their bytes count as those of the image."""

    def __iter__(self) -> Iterator[Features]:
        return iter(self.values())


def kept_picture(rgb: NDArray[np.uint8], tile: Size) -> NDArray[np.uint8]:
    """[H, W, 3]: the image, shrunk if it has more than KEPT pixels per side for one of its tile.

    An image that owns its pixels is not copied; `Segmenter.plan` says that they stay as they are.
    """
    height, width = (KEPT * side for side in tile)
    if height * width >= rgb.shape[0] * rgb.shape[1]:
        return rgb if rgb.flags.owndata and rgb.flags.c_contiguous and rgb.flags.writeable else rgb.copy()
    # Every request pays for this, whatever it asks: pixels that are not much smaller need no mean.
    near = 2 * height >= rgb.shape[0] and 2 * width >= rgb.shape[1]
    method = cv2.INTER_LINEAR if near else cv2.INTER_AREA
    return np.asarray(cv2.resize(rgb, (width, height), interpolation=method), np.uint8)


def looked_at(
    prompts: Sequence[Prompt], whole: Whole, multiple: int, rule: LookRule, encode: Encode, answer: Answer
) -> dict[int, PromptMasks]:
    """Answer the prompts whose box is small; by their index, on the cells of the whole image.

    Args:
        prompts: in pixels of the image.
        whole: what is known of it.
        multiple: of pixels, that sides of the network's input have.
        rule: which boxes are small.
        encode: makes the features of a part.
        answer: answers prompts about a part.
    """
    answers, kept = {}, whole.derived.once("looks", lambda: Looks(MAX_LOOKS))
    for place, prompt in enumerate(prompts):
        look = look_at(prompt, whole, multiple, rule)
        if look is not None:
            part = kept.get(look)
            if part is None:
                part = _encoded(whole.picture, look, encode)
                kept.put(look, part)
            [(masks, quality)] = answer(part, [_moved(prompt, whole, look)])
            answers[place] = PromptMasks(on_cells(masks, look, whole), quality)
    return answers


def look_at(prompt: Prompt, whole: Whole, multiple: int, rule: LookRule) -> Look | None:
    """Return the part around the box of a prompt; None without a box, or if it would hardly be enlarged."""
    if prompt.box is None or prompt.glance or not is_exact(prompt):
        return None
    tile = whole.cells[0] * STRIDE, whole.cells[1] * STRIDE
    x, y = (tile[1 - axis] / whole.size[1 - axis] for axis in (0, 1))
    x0, y0, x1, y1 = prompt.box
    wide, high = rule.around * max((x1 - x0) * x, 1.0), rule.around * max((y1 - y0) * y, 1.0)
    across, down = max(wide, high / 2), max(high, wide / 2)
    larger = max(1.0, MIN_SIDE / math.sqrt(across * down))
    across, down = min(across * larger, tile[1]), min(down * larger, tile[0])
    times = min(rule.most, rule.side / math.sqrt(across * down), max(tile) / max(across, down))
    if times < rule.least:
        return None
    left, right = _span((x0 + x1) / 2 * x, across, tile[1], whole.kept[1])
    top, bottom = _span((y0 + y1) / 2 * y, down, tile[0], whole.kept[0])
    sides = (bottom - top) * tile[0] / whole.kept[0], (right - left) * tile[1] / whole.kept[1]
    height, width = (max(multiple, round(side * times / multiple) * multiple) for side in sides)
    return Look(top, left, bottom, right, (height, width))


def _span(middle: float, length: float, of_tile: int, of_kept: int) -> tuple[int, int]:
    """First and end pixel of the kept picture for a length around a place of the tile."""
    first = min(max(middle - length / 2, 0.0), of_tile - length)
    start = round(first * of_kept / of_tile)
    return start, min(of_kept, start + math.ceil(length * of_kept / of_tile))


def _encoded(picture: Tensor, look: Look, encode: Encode) -> Features:
    part = picture[look.top : look.bottom, look.left : look.right].contiguous()
    return encode(brought_to(part.numpy(), look.input)[None], look.size)


def _moved(prompt: Prompt, whole: Whole, look: Look) -> Prompt:
    """A prompt in pixels of the part, without the points outside of it."""
    (down, across), (height, width) = (
        (kept / sent for kept, sent in zip(whole.kept, whole.size, strict=True)),
        look.size,
    )

    def there(x: float, y: float) -> tuple[float, float]:
        return x * across - look.left, y * down - look.top

    points = tuple(Point(*there(point.x, point.y), point.positive) for point in prompt.points)
    inside = tuple(point for point in points if 0 <= point.x <= width and 0 <= point.y <= height)
    assert prompt.box is not None
    return replace(prompt, points=inside, box=there(*prompt.box[:2]) + there(*prompt.box[2:]))


def on_cells(masks: Tensor, look: Look, whole: Whole) -> Tensor:
    """Logits [M, a, b] of a part -> [M, h, w] of the whole image: each cell the mean of what it covers."""
    down = _shares(whole.cells[0], masks.shape[1], (look.top, look.bottom), whole.kept[0]).to(masks.device)
    across = _shares(whole.cells[1], masks.shape[2], (look.left, look.right), whole.kept[1]).to(masks.device)
    seen = (down.sum(1) > 0)[:, None] & (across.sum(1) > 0)
    return torch.where(seen, down @ masks.float() @ across.T, NOWHERE)


def _shares(cells: int, parts: int, span: tuple[int, int], pixels: int) -> Tensor:
    """[cells, parts]: the share of each cell that each part covers, for parts on a span of the pixels."""
    first, end = (place * cells / pixels for place in span)
    bounds = torch.linspace(first, end, parts + 1, dtype=torch.float64)
    cell = torch.arange(cells, dtype=torch.float64)[:, None]
    covered = (torch.minimum(bounds[1:], cell + 1) - torch.maximum(bounds[:-1], cell)).clamp_min(0)
    return (covered / covered.sum(1, keepdim=True).clamp_min(1e-9)).float()
