"""Prompts that correct a mask: positive points and the box add to it, negative points remove from it.

A method that takes masks as prompts is asked with the mask, and its answer is the mask. The head of any other is asked
what the points and the box show, and its answers are applied to the mask at the size of the image: pixels that no
answer touches stay as they are. A positive point adds the smallest mask of a click there that holds it, for what is
missed is a part; of other labels it takes pixels only of the one that it lies on. A negative point removes the object
that a click there cuts out (`removed_object`).

A head that has learned corrections is asked what the mask would be after the point. A positive point adds no cell that
is sure to stay outside, a negative one removes what would not stay. `benchmarks/corrections.py` has the gain of both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.abilities import PromptMasks, guide_of, prompts_of
from lexiseg_model.errors import ShapeError
from lexiseg_model.features import Features
from lexiseg_model.internal import Corrections, LearnedCorrections
from lexiseg_model.masks.pamr import refine_masks
from lexiseg_model.masks.parts import parts_around
from lexiseg_model.masks.regions import tight_box
from lexiseg_model.masks.rle import decode, encode_mask, encode_spans
from lexiseg_model.masks.upsample import axis, cut
from lexiseg_model.tasks.options import Query
from lexiseg_model.types import LabelMap, Point, Prompt, Rle

DISC = 0.5  # of the way from a negative point to the outline, or to the nearest positive point
OUTSIDE = -1.0  # highest logit in a disc and next to a negative point
MAX_REMOVED = 0.35  # share of a mask; a negative point on a larger part removes a disc instead
CERTAIN = 6.0  # logit of a cell that is wholly inside a mask, and minus that of one outside; heads are trained so
MAX_ANSWERS = 8  # of the head to the points that correct a mask; the last of them takes all later points
STAYS_OUT = 5.0  # a cell with a logit after a positive point below minus this is sure to stay outside
Head = Callable[[Features, list[Prompt]], list[PromptMasks]]


def first_cells(points: Tensor, cells: tuple[int, int], size: Tensor) -> Tensor:
    """The first of the cells between which the pixel under a point is interpolated; the others are next to it.

    Points [N, 2] (x, y) in pixels of an image of `size` [2] (H, W), which has (h, w) `cells` -> cells [N, 2] (x, y).
    """
    sides, pixels = torch.stack([torch.ones_like(size[0]) * side for side in reversed(cells)]), size.flip(0)
    centre = points.floor().minimum(pixels - 1) + 0.5  # of the pixel under the point
    return (centre * sides / pixels - 0.5).clamp_min(0).minimum(sides - 1).floor()


def cells_of_points(points: Sequence[Point], mask: Tensor, size: tuple[int, int]) -> Tensor:
    """Points of an image of `size` (H, W) as cells [N, 2] of its mask [h, w], on its device."""
    pixels = torch.tensor([(point.x, point.y) for point in points], dtype=torch.float32).view(-1, 2)
    return first_cells(pixels, (mask.shape[0], mask.shape[1]), torch.tensor(size).float()).to(mask.device)


def removed_object(mask: Tensor, selected: Tensor, point: Tensor, positives: Tensor) -> Tensor:
    """Logits [h, w] of what a negative point [2] removes from a mask, given the object that a click there selects.

    That is the part of the object, `selected` [h, w], inside of the mask and connected with the point. Where it is
    most of the mask, or holds one of the `positives` [P, 2], a disc around the point is removed instead.
    """
    inside, at_point = mask >= 0, _cells_at(point[None], mask)[0]
    both = inside & (selected >= 0)
    part = parts_around(both, at_point)
    area, whole = part.sum(), inside.sum()
    is_object = (area > 0) & (area <= MAX_REMOVED * whole) & ~(part & _cells_at(positives, mask).any(0)).any()
    disc = inside & (_distances(point[None], mask)[0] < _disc_radius(inside, point, positives))
    own = selected.masked_fill(both & ~part, -CERTAIN)
    removed = torch.where(is_object, own, torch.where(disc, CERTAIN, -CERTAIN))
    return torch.where(at_point, removed.clamp_min(-OUTSIDE), removed)


def without(mask: Tensor, removed: Tensor) -> Tensor:
    """Subtract what is `removed` from a mask; logits [h, w] both."""
    return torch.where(removed >= 0, mask.minimum(-removed), mask)


def _offsets(points: Tensor, cells: Tensor) -> tuple[Tensor, Tensor]:
    """Offsets (y [N, h, 1], x [N, 1, w]) of the cells of a map [h, w] from points [N, 2]."""
    y, x = (torch.arange(side, device=cells.device) for side in cells.shape)
    return (y - points[:, 1, None])[:, :, None], (x - points[:, 0, None])[:, None]


def _cells_at(points: Tensor, cells: Tensor) -> Tensor:
    """The cells of a map [h, w] between which the pixels under points [N, 2] are interpolated: [N, h, w] bool."""
    y, x = _offsets(points, cells)
    return (y >= 0) & (y < 2) & (x >= 0) & (x < 2)


def _distances(points: Tensor, cells: Tensor) -> Tensor:
    y, x = _offsets(points, cells)
    return (y * y + x * x).sqrt()


def _disc_radius(inside: Tensor, point: Tensor, positives: Tensor) -> Tensor:
    """Radius [] of the disc around a point: DISC of the way to a cell outside, the map's edge or a positive point."""
    to_outline = torch.where(inside, torch.inf, _distances(point[None], inside)[0]).flatten().amin(0)
    to_last = torch.stack([torch.ones_like(point[0]) * side for side in reversed(inside.shape)]) - point
    to_edge = torch.cat([point + 1, to_last]).amin(0)
    distances = (positives - point).norm(dim=1)
    without_any = torch.full_like(distances[:1].sum(0, keepdim=True), torch.inf)
    to_positive = torch.cat([without_any, distances]).amin(0)
    return DISC * to_outline.minimum(to_edge).minimum(to_positive)


class Corrected(NamedTuple):
    """The corrected mask at the size of the image, its logits [h, w] and the quality of the last answer."""

    rle: Rle
    logits: Tensor
    quality: float


def correct(query: Query, prompt: Prompt, others: LabelMap | None = None) -> Corrected:
    """Apply the points and the box of a prompt to its mask; without either, what the model cuts out of the mask's box.

    A point adds pixels only of the label of `others` [H, W], 0 where there is none, that it lies on. Raises ShapeError:
    the counts of the mask are not valid for its size, or it is empty and nothing is added.
    """
    assert prompt.mask is not None
    size, mask = query.features.size, decode(prompt.mask)
    if isinstance(query.segmenter, Corrections):
        own = _ask(query, query.segmenter.correct, [replace(prompt, segment=None)])[0]
        own_logits = own.masks[0].cpu()
        answer = _cut(own_logits, size)
        pixels = answer if others is None else answer & (mask | ~_closed(others, prompt))
        return Corrected(encode_mask(pixels), own_logits, float(own.quality[0]))
    adding = _adding(prompt)
    if not prompt.points and prompt.box is None:
        if not mask.any():
            raise ShapeError("it holds no pixel, and nothing is to be added")
        adding, mask, others = [Prompt(box=tight_box(mask))], np.zeros_like(mask), None
    after = _after_point(query)
    removing = [] if after else [Prompt((replace(point, positive=True),)) for point in prompt.negatives[:MAX_ANSWERS]]
    prompts = [*adding, *removing]
    replies = _ask(query, prompts_of(query.segmenter).prompt, prompts) if prompts else []
    state = _state(query, mask, replies)
    for each, reply in zip(adding, replies, strict=False):
        added = _smallest_around(reply.masks.cpu(), each, size)
        if after and each.is_lone_click:
            added = added.minimum(after(state.logits, each.points[0]).masks[0] + STAYS_OUT)
        state.add(added, None if others is None else _closed(others, each), float(reply.quality[0]))
    objects = replies[len(adding) :]
    around, away = (cells_of_points(points, state.logits, size) for points in (prompt.positives, prompt.negatives))
    for number, point in enumerate(prompt.negatives):
        object_there = torch.full_like(state.logits, -CERTAIN)
        if number < MAX_ANSWERS:
            reply = after(state.logits, point) if after else objects[number]
            object_there = -reply.masks[0] if after else reply.masks[0].cpu()
            state.quality = float(reply.quality[0])
        state.remove(removed_object(state.logits, object_there, away[number], around))
    return Corrected(encode_mask(state.mask), state.logits, state.quality)


@dataclass
class _State:
    """A mask [H, W] that is being corrected, its logits [h, w], and the quality of the last answer."""

    mask: NDArray[np.bool_]
    logits: Tensor
    quality: float = 0.0

    def add(self, added: Tensor, closed: NDArray[np.bool_] | None, quality: float) -> None:
        """Add logits [h, w], but no pixels that are `closed` [H, W]."""
        size = (self.mask.shape[0], self.mask.shape[1])
        pixels = _cut(added, size)
        if closed is not None:
            pixels &= ~closed
            added = added.minimum(-_logits(closed, added.shape))
        self.mask |= pixels
        self.logits, self.quality = self.logits.maximum(added), quality

    def remove(self, removed: Tensor) -> None:
        self.mask &= ~_cut(removed, (self.mask.shape[0], self.mask.shape[1]))
        self.logits = without(self.logits, removed)


def _state(query: Query, mask: NDArray[np.bool_], replies: list[PromptMasks]) -> _State:
    """A mask before its corrections, on the cells of the masks that `_ask` gives."""
    if query.refine != "pamr" and isinstance(query.segmenter, LearnedCorrections):
        return _State(mask, _logits(mask, query.segmenter.mask_cells(query.features)))
    refined = guide_of(query.segmenter, query.features) if query.refine == "pamr" else replies[-1].masks
    return _State(mask, _logits(mask, tuple(refined.shape[1:])))


def _after_point(query: Query) -> Callable[[Tensor, Point], PromptMasks] | None:
    """What a mask, logits [h, w], is after a point, by a head that has learned it; None: the head has not."""
    learned = query.segmenter
    if not isinstance(learned, LearnedCorrections):
        return None

    cells = learned.mask_cells(query.features)

    def ask(logits: Tensor, point: Point) -> PromptMasks:
        mask = F.interpolate(logits[None, None], cells, mode="area")[0, 0]  # PAMR's logits are on more cells
        [reply] = _ask(query, lambda features, _: [learned.after_point(features, mask, point)], [])
        return PromptMasks(reply.masks.cpu(), reply.quality)

    return ask


def _closed(others: LabelMap, prompt: Prompt) -> NDArray[np.bool_]:
    """[H, W] pixels of labels on which no positive point of a prompt lies."""
    height, width = others.shape
    places = [(min(int(point.y), height - 1), min(int(point.x), width - 1)) for point in prompt.positives]
    return ~np.isin(others, [0, *(others[place] for place in places)])


def _adding(prompt: Prompt) -> list[Prompt]:
    """What is asked of the head to add: each point by itself, further ones together; with a box all at once."""
    positives = prompt.positives
    if prompt.box is not None:
        return [Prompt(positives, prompt.box)]
    rest = positives[MAX_ANSWERS:]
    return [*(Prompt((point,)) for point in positives[:MAX_ANSWERS]), *([Prompt(rest)] if rest else [])]


def _smallest_around(masks: Tensor, prompt: Prompt, size: tuple[int, int]) -> Tensor:
    """Of masks [M, h, w], the best first, the smallest that holds a lone point; else, or for more, the best."""
    if not prompt.is_lone_click:
        return masks[0]
    holds = torch.tensor([_value_at(mask.numpy(), prompt.points[0], size) >= 0 for mask in masks])
    areas = (masks >= 0).sum((1, 2)).where(holds, masks[0].numel() + 1)
    return masks[int(areas.argmin())]


def _value_at(logits: NDArray[np.float32], point: Point, size: tuple[int, int]) -> float:
    """Logits [h, w] upsampled to the image of `size` (H, W), at the pixel under a point."""
    x, y = (axis(cells, pixels) for cells, pixels in zip(logits.shape[::-1], size[::-1], strict=True))
    column, row = (min(int(place), side - 1) for place, side in zip((point.x, point.y), size[::-1], strict=True))
    left, top = x.low[column], y.low[row]
    corners = np.pad(logits, ((0, 1), (0, 1)), mode="edge")[top : top + 2, left : left + 2]
    upper, lower = corners[:, 0] + x.weight[column] * (corners[:, 1] - corners[:, 0])
    return float(upper + y.weight[row] * (lower - upper))


def _ask(query: Query, head: Head, prompts: list[Prompt]) -> list[PromptMasks]:
    query.options.check()
    answers = head(query.features, prompts)
    if query.refine != "pamr":
        return [PromptMasks(answer.masks.float(), answer.quality) for answer in answers]
    guide = guide_of(query.segmenter, query.features)
    return [PromptMasks(refine_masks(answer.masks.float(), guide), answer.quality) for answer in answers]


def _logits(mask: NDArray[np.bool_], shape: tuple[int, ...]) -> Tensor:
    """A mask [H, W] as logits [h, w]: the share of each cell that is inside."""
    share = cv2.resize(mask.astype(np.float32), shape[::-1], interpolation=cv2.INTER_AREA)
    return torch.from_numpy((2 * share - 1) * CERTAIN).float()


def _cut(logits: Tensor, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Mask of the pixels where logits [h, w], upsampled to the image's size, are not below 0."""
    return decode(encode_spans(cut(logits.numpy(), size), size))
