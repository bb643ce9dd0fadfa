"""Predict masks for prompts in one image: convert prompts to tensors, run the head in batches, refine the masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import takewhile

import numpy as np
import torch
from torch import Tensor

from lexiseg_model.masks.parts import CrumbRule, without_crumbs
from lexiseg_model.methods.tiny.graphs import MaskPredictor
from lexiseg_model.methods.tiny.mask_rules import box_holds, clip_to_box
from lexiseg_model.methods.tiny.prompt_head import MaskAnswers, SharedMaps
from lexiseg_model.methods.tiny.prompt_maps import Prompts
from lexiseg_model.methods.tiny.settings import BoxRule
from lexiseg_model.segmenter import PromptMasks
from lexiseg_model.tasks.mask_prompts import MAX_ANSWERS
from lexiseg_model.types import Point, Prompt

MAX_BATCH = 50  # prompts in one pass through the head
NO_BOX = (0.0, 0.0, 0.0, 0.0)

Scale = tuple[float, float]  # (x, y): pixels of the network's input per pixel of the image


def predict_masks(
    head: MaskPredictor, shared: SharedMaps, prompts: Sequence[Prompt], scale: Scale
) -> list[PromptMasks]:
    """Predict masks of prompts in one image, logits at stride 4: four for a single positive point, else one.

    The mask of the highest quality is the first.
    """
    answers: dict[int, PromptMasks] = {}
    for is_click, predict in ((True, head.click_masks), (False, head.prompt_mask)):
        indices = [index for index, prompt in enumerate(prompts) if prompt.is_lone_click == is_click]
        for start in range(0, len(indices), MAX_BATCH):
            batch = indices[start : start + MAX_BATCH]
            predicted = predict(shared, as_tensors([prompts[index] for index in batch], scale, shared.fine.device))
            answers |= zip(batch, _best_first(predicted), strict=True)
    return [answers[index] for index in range(len(prompts))]


def before_corrections(prompt: Prompt) -> tuple[Prompt, tuple[Point, ...]]:
    """What a prompt shows before its first negative point, and the points that correct this, in their order.

    Positive points come first where a prompt begins with a negative one and has no box. Nothing is corrected where all
    points are negative.
    """
    if not prompt.negatives or (prompt.box is None and not prompt.positives):
        return prompt, ()
    leading = tuple(takewhile(lambda point: point.positive, prompt.points))
    if leading or prompt.box is not None:
        return replace(prompt, points=leading), prompt.points[len(leading) :]
    return replace(prompt, points=prompt.positives), prompt.negatives


def correct_mask(
    head: MaskPredictor, shared: SharedMaps, mask: Tensor, points: Sequence[Point], n_applied: int, scale: Scale
) -> PromptMasks:
    """A mask, logits [h, w] at stride 4, corrected by one point after the other, as the head was trained.

    The mask already follows the first `n_applied` of the points. The last of MAX_ANSWERS passes takes the rest.
    """
    ends = range(n_applied + 1, len(points) + 1)
    for n in (*ends[: MAX_ANSWERS - 1], *ends[MAX_ANSWERS - 1 :][-1:]):
        tensors = as_tensors([Prompt(tuple(points[:n]))], scale, shared.fine.device)
        answer, quality = head.prompt_mask(shared, tensors, mask.to(shared.fine)[None, None])
        mask = answer[0, 0, 0].float()
    return PromptMasks(mask[None], quality[0, 0].float().sigmoid())


def clip_and_clean(answer: PromptMasks, prompt: Prompt, scale: Scale, rule: BoxRule, crumbs: CrumbRule) -> PromptMasks:
    """Clip the masks of a prompt to its box, and remove small islands and holes, if it `is_exact`."""
    if not is_exact(prompt):
        return answer
    masks = answer.masks
    if prompt.box is not None:
        masks = clip_to_box(*answer, _boxes([prompt], scale, masks.device)[0], rule)
    return answer._replace(masks=without_crumbs(masks, crumbs))


def is_exact(prompt: Prompt) -> bool:
    """Whether a prompt can be taken literally: its box is not rough, and no positive point is outside it."""
    if prompt.box is None:
        return True
    if prompt.rough:
        return False
    points = torch.tensor([(point.x, point.y) for point in prompt.points], dtype=torch.float64).view(-1, 2)
    signs = torch.tensor([1.0 if point.positive else -1.0 for point in prompt.points])
    return bool(box_holds(points, signs, torch.tensor(prompt.box, dtype=torch.float64), torch.tensor(1.0)))


def _boxes(prompts: Sequence[Prompt], scale: Scale, device: torch.device) -> Tensor:
    """Boxes [N, 4] in pixels of the network's input; NO_BOX for prompts without one."""
    boxes = torch.tensor([prompt.box or NO_BOX for prompt in prompts], device=device)
    return boxes * torch.tensor(scale * 2, device=device)


def as_tensors(prompts: Sequence[Prompt], scale: Scale, device: torch.device) -> Prompts:
    """Convert the prompts of one image to tensors, padded to the largest number of points."""
    longest = max(1, *(len(prompt.points) for prompt in prompts))
    points = np.zeros((1, len(prompts), longest, 2), np.float32)
    signs = np.zeros((1, len(prompts), longest), np.float32)
    for row, prompt in enumerate(prompts):
        for column, point in enumerate(prompt.points):
            points[0, row, column] = point.x, point.y
            signs[0, row, column] = 1.0 if point.positive else -1.0
    points *= np.array(scale, np.float32)
    has_box = np.array([[prompt.box is not None for prompt in prompts]], np.float32)
    tensors = [torch.from_numpy(array).to(device) for array in (points, signs, has_box)]
    return Prompts(tensors[0], tensors[1], _boxes(prompts, scale, device)[None], tensors[2])


def _best_first(predicted: MaskAnswers) -> list[PromptMasks]:
    masks, quality = predicted.masks[0].float(), predicted.quality[0].float().sigmoid()
    if masks.shape[1] > 1:
        indices = quality.argsort(dim=1, descending=True, stable=True)
        masks, quality = masks.take_along_dim(indices[..., None, None], 1), quality.gather(1, indices)
    return [PromptMasks(*answer) for answer in zip(masks, quality, strict=True)]
