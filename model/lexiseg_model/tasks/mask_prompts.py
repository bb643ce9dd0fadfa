"""Prompts that correct a mask: positive points and the box add to it, negative points remove from it.

A method that takes masks as prompts is asked with the mask, and its answer is the mask. The head of any other is asked
by the points and by the box, or the box of the mask, and its answers are applied to the mask at the size of the image:
pixels that no answer touches stay as they are.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.masks.bilinear import cut
from lexiseg_model.masks.pamr import refine_masks
from lexiseg_model.masks.regions import tight_box
from lexiseg_model.masks.rle import decode, encode_mask
from lexiseg_model.segmenter import PromptMasks
from lexiseg_model.tasks import negative_points
from lexiseg_model.tasks.options import Query
from lexiseg_model.types import Prompt, Rle

CERTAIN = 4.0  # logit of a cell that is wholly inside the mask, and minus that of one outside


class Corrected(NamedTuple):
    """The corrected mask at the size of the image, its logits [h, w] and its quality, that of the last answer."""

    rle: Rle
    logits: Tensor
    quality: float


def correct(query: Query, prompt: Prompt) -> Corrected:
    """Apply the points and the box of a prompt to its mask.

    Without either, the answer is what the model cuts out of the mask's box.

    Raises:
        ShapeError: the counts of the mask are not valid for its size.
        TaskError: the method takes no prompts.
    """
    assert prompt.mask is not None
    size = query.features.size
    if query.segmenter.takes_masks:
        own = _ask(query, [replace(prompt, segment=None)])[0]
        return Corrected(encode_mask(_cut(own.masks[0], size)), own.masks[0].cpu(), float(own.quality[0]))
    mask = decode(prompt.mask)
    positives = tuple(point for point in prompt.points if point.positive)
    negatives = tuple(point for point in prompt.points if not point.positive)
    around = tight_box(mask) if mask.any() else None
    added_prompt = Prompt(positives, prompt.box)
    if not negatives and not positives and prompt.box is None:
        added_prompt, mask = Prompt((), around), np.zeros_like(mask)
    added: PromptMasks | None = None
    if added_prompt.points or added_prompt.box is not None:
        added = _ask(query, [added_prompt])[0]
    without = [
        replace(added_prompt, points=(*positives, *negatives[:number]), box=prompt.box or around)
        for number in range(1, min(len(negatives), negative_points.MAX_ANSWERS) + 1)
    ]
    replies = _ask(query, without) if without else []
    shape = (replies[-1] if added is None else added).masks.shape[1:]
    logits = _logits(mask, (int(shape[0]), int(shape[1])))
    if added is not None:
        mask = mask | _cut(added.masks[0], size)
        logits = torch.maximum(logits, added.masks[0].cpu())
    quality = 0.0 if added is None else float(added.quality[0])
    if replies:
        answer = negative_points.Answer(
            Prompt(prompt.points, prompt.box or around),
            PromptMasks(logits[None], replies[-1].quality[:1]),
            torch.stack([reply.masks[0] for reply in replies]).float().cpu(),
        )
        left = negative_points.without_negatives(logits[None], answer, size)[0]
        removed = torch.where((logits >= 0) & (left < 0), -left, torch.full_like(left, -CERTAIN))
        mask = mask & ~_cut(removed, size)
        logits, quality = left, float(replies[-1].quality[0])
    return Corrected(encode_mask(mask), logits, quality)


def _ask(query: Query, prompts: list[Prompt]) -> list[PromptMasks]:
    """The head's answers as float32, refined where that is asked for."""
    query.options.check()
    answers = query.segmenter.prompt(query.features, prompts)
    if query.refine != "pamr":
        return [PromptMasks(answer.masks.float(), answer.quality) for answer in answers]
    guide = query.segmenter.guide(query.features)
    return [PromptMasks(refine_masks(answer.masks[:1].float(), guide), answer.quality) for answer in answers]


def _logits(mask: NDArray[np.bool_], shape: tuple[int, int]) -> Tensor:
    """A mask [H, W] as logits [h, w]: the share of each cell that is inside."""
    share = cv2.resize(mask.astype(np.float32), shape[::-1], interpolation=cv2.INTER_AREA)
    return torch.from_numpy((2 * share - 1) * CERTAIN)


def _cut(logits: Tensor, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Mask of the pixels where logits [h, w], upsampled to the image's size, are not below 0."""
    changes = np.zeros(size[0] * size[1] + 1, np.int8)
    spans = cut(np.ascontiguousarray(logits.numpy(force=True), np.float32), size)
    changes[spans[:, 0]] += 1
    changes[spans[:, 1]] -= 1
    return np.cumsum(changes[:-1]).astype(bool).reshape(size[1], size[0]).T
