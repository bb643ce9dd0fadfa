"""ONNX graphs for the browser that choose and refine the masks of the prompt head, by `mask_rules`.

tile -> Palette, once an image; the head's masks of a prompt and that palette -> ChooseMask -> one refined mask
a small box -> LookAt -> a crop, encoded, ChooseMask -> its mask -> Widen -> that of the image
mask -> FinishMask -> mask within its box; a negative point of a mask prompt -> RemovedObject
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.export import Dim

from lexiseg_model.export.exportable import Part
from lexiseg_model.masks.pamr import affinity, refine_once
from lexiseg_model.masks.parts import crumbs_of
from lexiseg_model.methods.tiny.closer_look import NOWHERE, in_crop, look_at, shares
from lexiseg_model.methods.tiny.graphs import MAX_POINTS, NormaliseColours
from lexiseg_model.methods.tiny.mask_rules import (
    MAX_LOGIT,
    SMOOTHING,
    box_holds,
    clip_to_box,
)
from lexiseg_model.methods.tiny.settings import TinySettings
from lexiseg_model.tasks.mask_prompts import first_cells, removed_object, without

MAX_CELLS = 4096  # of a side at stride 4
MAX_MASKS = 16  # of a prompt


class Palette(nn.Module):
    """uint8 tile [3, 4h, 4w] of an image -> the head's guide, uint8 [3, 2h, 2w], and what smoothing takes: the weights
    [16, h, w] of each cell's neighbours."""

    def __init__(self) -> None:
        super().__init__()
        self.normalise = NormaliseColours()

    def forward(self, tile: Tensor) -> tuple[Tensor, ...]:
        guide = F.avg_pool2d(tile[None].float(), 2).round()
        cells = self.normalise(F.avg_pool2d(guide, 2))[0]
        return guide[0].to(torch.uint8), affinity(cells, SMOOTHING.dilations)


class ChooseMask(nn.Module):
    """Of logits of masks [M, h, w] and quality [M], and a prompt: the best mask's logits, and quality in 0..1.

    A mask is smoothed along edges unless positive points lie outside its box.
    """

    def forward(
        self,
        masks: Tensor,
        quality: Tensor,
        points: Tensor,
        signs: Tensor,
        box: Tensor,
        has_box: Tensor,
        weights: Tensor,
    ) -> tuple[Tensor, Tensor]:
        sure = quality.sigmoid()
        best = sure[None].argmax(1)
        mask = masks.index_select(0, best)
        logits = mask.clamp(-MAX_LOGIT, MAX_LOGIT)
        for _ in range(SMOOTHING.iterations):
            logits = refine_once(logits, weights, SMOOTHING.dilations)
        is_exact = box_holds(points, signs, box, has_box)
        return torch.where(is_exact, logits, mask)[0], sure.index_select(0, best)


class FinishMask(nn.Module):
    """The mask of a prompt clipped to its box and without crumbs; 1 in `is_near` [] if the mask is of a crop."""

    def __init__(self, settings: TinySettings) -> None:
        super().__init__()
        self.boxes, self.near, self.crumbs = settings.boxes, settings.looks.boxes, settings.crumbs

    def forward(
        self,
        mask: Tensor,
        quality: Tensor,
        points: Tensor,
        signs: Tensor,
        box: Tensor,
        has_box: Tensor,
        is_near: Tensor,
    ) -> tuple[Tensor]:
        near, usual = (clip_to_box(mask[None], quality, box, rule)[0] for rule in (self.near, self.boxes))
        clipped = torch.where(has_box > 0, torch.where(is_near > 0, near, usual), mask)
        clean = torch.where(crumbs_of(clipped > 0, self.crumbs), -clipped, clipped)
        return (torch.where(box_holds(points, signs, box, has_box), clean, mask),)


class LookAt(nn.Module):
    """Whether and where a small box is looked at closer: `closer_look.look_at` and `in_crop` of box and points."""

    def __init__(self, settings: TinySettings, multiple: int) -> None:
        super().__init__()
        self.rule, self.multiple = settings.looks, multiple

    def forward(
        self, points: Tensor, signs: Tensor, box: Tensor, size: Tensor, tile: Tensor, kept: Tensor
    ) -> tuple[Tensor, ...]:
        span, shape, is_enough = look_at(box, size, tile, kept, self.multiple, self.rule)
        moved, inside = in_crop(torch.cat([box.view(2, 2), points]), span, size, kept)
        looks = is_enough & box_holds(points, signs, box, torch.ones_like(box[0]))
        return span, shape, looks.double(), moved[:2].flatten(), moved[2:], inside[2:].double()


class RemovedObject(nn.Module):
    """`removed_object` [h, w] of a mask, and what is left of it; `shown` is what a click on the negative point cuts
    out."""

    def forward(
        self, mask: Tensor, shown: Tensor, point: Tensor, positives: Tensor, size: Tensor
    ) -> tuple[Tensor, Tensor]:
        cells = first_cells(torch.cat([point, positives]), (mask.shape[0], mask.shape[1]), size)
        removed = removed_object(mask, shown, cells[0], cells[1:])
        return removed, without(mask, removed)


class Widen(nn.Module):
    """Logits [a, b] of a crop with a `span` [4] in cells -> the whole image's, as `closer_look.to_image_cells`."""

    def forward(self, mask: Tensor, span: Tensor, rows: Tensor, columns: Tensor) -> tuple[Tensor]:
        top, left, bottom, right = span.double().unbind()
        down, across = shares(rows, mask.shape[0], top, bottom), shares(columns, mask.shape[1], left, right)
        covered = (down.sum(1) > 0)[:, None] & (across.sum(1) > 0)
        return (torch.where(covered, down @ mask @ across.T, NOWHERE),)


def mask_parts(settings: TinySettings, multiple: int) -> list[Part]:
    """The graphs, for export; `multiple` of the sides of the network's input."""
    rows, columns = (Dim(name, min=1, max=MAX_CELLS) for name in ("rows", "columns"))
    h, w = 8 * rows, 8 * columns
    palette = {"weights": {1: h, 2: w}}
    n, k = Dim("masks", min=1, max=MAX_MASKS), Dim("points", min=1, max=MAX_POINTS)
    a, b = (Dim(name, min=2, max=MAX_CELLS) for name in ("a", "b"))
    whole = {0: h, 1: w}
    widened = {"mask": {0: 8 * a, 1: 8 * b}, "span": {}, "rows": {0: h}, "columns": {0: w}}
    prompt = {"points": {0: k}, "signs": {0: k}, "box": {}, "has_box": {}}
    masks = {"masks": {0: n, 1: h, 2: w}, "quality": {0: n}}
    look = {"points": {0: k}, "signs": {0: k}, "box": {}, "size": {}, "tile": {}, "kept": {}}
    looked = ("span", "shape", "looks", "moved_box", "moved_points", "inside")
    point = {"point": {}, "positives": {0: Dim("positives", min=0, max=MAX_POINTS)}, "size": {}}
    finished = {"mask": whole, "quality": {}, **prompt, "is_near": {}}
    return [
        Part("palette", Palette(), _tile, {"tile": {1: 4 * h, 2: 4 * w}}, ("guide", *palette)),
        Part("choose-mask", ChooseMask(), _masks, {**masks, **prompt, **palette}, ("mask", "sure")),
        Part("look-at", LookAt(settings, multiple), _look, look, looked),
        Part("widen", Widen(), _part_of_image, widened, ("whole",)),
        Part(
            "finish-mask",
            FinishMask(settings),
            lambda h, w: [_blobs(h, w), torch.tensor([0.7]), *_prompt(h, w), torch.tensor(1.0)],
            finished,
            ("finished",),
        ),
        Part("removed-object", RemovedObject(), _point, {"mask": whole, "shown": whole, **point}, ("removed", "left")),
    ]


def _tile(rows: int, columns: int) -> list[Tensor]:
    """Random colours of an image of so many cells at stride 32, the upper half white as an overexposed sky."""
    tile = torch.randint(0, 256, (3, 32 * rows, 32 * columns), dtype=torch.uint8)
    tile[:, : 16 * rows] = 255
    return [tile]


def _part_of_image(rows: int, columns: int) -> list[Tensor]:
    h, w = 8 * rows, 8 * columns
    return [torch.randn(16, 24), torch.tensor([1.5, 2.0, h / 2, w / 2]), torch.arange(h), torch.arange(w)]


def _prompt(rows: int, columns: int) -> list[Tensor]:
    points = torch.tensor([[10.0 * columns, 8.0 * rows], [30.0 * columns, 30.0 * rows], [0.0, 0.0]])
    box = torch.tensor([8.0, 6.0, 24.0 * columns, 20.0 * rows])
    return [points, torch.tensor([1.0, -1.0, 0.0]), box, torch.tensor(1.0)]


def _blobs(rows: int, columns: int) -> Tensor:
    """Random logits with parts larger than single cells."""
    coarse = torch.randn(1, 1, 2 * rows, 2 * columns)
    return F.interpolate(coarse, size=(8 * rows, 8 * columns), mode="bilinear")[0, 0]


def _look(rows: int, columns: int) -> list[Tensor]:
    points, signs, *_ = _prompt(rows, columns)
    box = torch.tensor([10.0, 20.0, 10.0 + 6 * columns, 20.0 + 5 * rows])
    tile = torch.tensor([32.0 * rows, 32.0 * columns])
    return [part.double() for part in (points, signs, box, 1.5 * tile, tile, 1.25 * tile)]


def _point(rows: int, columns: int) -> list[Tensor]:
    size = torch.tensor([20.0 * rows, 20.0 * columns])
    point, positives = torch.tensor([[9.0 * columns, 9.0 * rows]]), torch.tensor([[3.0, 4.0], [50.0, 60.0]])
    return [_blobs(rows, columns), _blobs(rows, columns), point, positives, size]


def _masks(rows: int, columns: int) -> list[Tensor]:
    masks = torch.randn(4, 8 * rows, 8 * columns)
    return [masks, torch.randn(4), *_prompt(rows, columns), *Palette()(*_tile(rows, columns))[1:]]
