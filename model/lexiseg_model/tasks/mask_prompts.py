"""Prompts that correct a mask: positive points and the box add to it, negative points remove from it.

A method that takes masks as prompts is asked with the mask, and its answer is the mask. The head of any other is asked
what the points and the box show, and its answers are applied to the mask at the size of the image: pixels that no
answer touches stay as they are. A positive point adds the smallest mask of a click there that holds it, for what is
missed is a part; nothing that is added enters the pixels of other labels. A negative point removes the object that a
click there cuts out (`point_rules.removed_object`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.errors import ShapeError
from lexiseg_model.features import Features
from lexiseg_model.internal import Corrections
from lexiseg_model.masks.bilinear import axis, cut
from lexiseg_model.masks.pamr import refine_masks
from lexiseg_model.masks.regions import tight_box
from lexiseg_model.masks.rle import decode, encode_mask, encode_spans
from lexiseg_model.segmenter import PromptMasks, guide_of, prompts_of
from lexiseg_model.tasks.negative_points import MAX_ANSWERS, cells_of_points
from lexiseg_model.tasks.options import Query
from lexiseg_model.tasks.point_rules import CERTAIN, removed_object, without
from lexiseg_model.types import Point, Prompt, Rle

Head = Callable[[Features, list[Prompt]], list[PromptMasks]]


class Corrected(NamedTuple):
    """The corrected mask at the size of the image, its logits [h, w] and the quality of the last answer."""

    rle: Rle
    logits: Tensor
    quality: float


def correct(query: Query, prompt: Prompt, others: NDArray[np.bool_] | None = None) -> Corrected:
    """Apply the points and the box of a prompt to its mask.

    Without either, the answer is what the model cuts out of the mask's box.

    Args:
        query: of the prompt.
        prompt: with a mask.
        others: [H, W] pixels of other labels, to which nothing is added.

    Raises:
        ShapeError: the counts of the mask are not valid for its size, or it is empty and alone.
        TaskError: the method takes no prompts.
    """
    assert prompt.mask is not None
    size, mask = query.features.size, decode(prompt.mask)
    if isinstance(query.segmenter, Corrections):
        own = _ask(query, query.segmenter.correct, [replace(prompt, segment=None)])[0]
        own_logits = own.masks[0].cpu()
        answer = _cut(own_logits, size)
        rle = encode_mask(answer if others is None else answer & (mask | ~others))
        return Corrected(rle, own_logits, float(own.quality[0]))
    positives, negatives = prompt.positives, prompt.negatives
    adding = _adding(prompt)
    if not prompt.points and prompt.box is None:
        if not mask.any():
            raise ShapeError("it holds no pixel, and nothing is to be added")
        adding, mask, others = [Prompt(box=tight_box(mask))], np.zeros_like(mask), None
    removing = [Prompt((replace(point, positive=True),)) for point in negatives[:MAX_ANSWERS]]
    replies = _ask(query, prompts_of(query.segmenter).prompt, [*adding, *removing])
    logits = _logits(mask, replies[-1].masks.shape[1:])
    for each, reply in zip(adding, replies, strict=False):
        added = _smallest_around(reply.masks.cpu(), each, size)
        pixels = _cut(added, size)
        if others is not None:
            pixels &= ~others
            added = added.minimum(-_logits(others, added.shape))
        mask |= pixels
        logits = logits.maximum(added)
    shown = [reply.masks[0].cpu() for reply in replies[len(adding) :]]
    around, away = (cells_of_points(points, logits, size) for points in (positives, negatives))
    for number, point in enumerate(away):
        object_there = shown[number] if number < MAX_ANSWERS else torch.full_like(logits, -CERTAIN)
        removed = removed_object(logits, object_there, point, around)
        mask &= ~_cut(removed, size)
        logits = without(logits, removed)
    return Corrected(encode_mask(mask), logits, float(replies[-1].quality[0]))


def _adding(prompt: Prompt) -> list[Prompt]:
    """What is asked of the head to add: each point alone, those beyond MAX_ANSWERS together; with a box all at once."""
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
    """The head's answers as float32, refined where that is asked for."""
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
