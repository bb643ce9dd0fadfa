"""Predict masks for prompts in one image: convert prompts to tensors, run the head in batches, refine the masks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from lexiseg_model.masks.crumbs import CrumbRule, without_crumbs
from lexiseg_model.methods.tiny.mask_rules import clip_to_box
from lexiseg_model.methods.tiny.prompt_head import MaskAnswers, MaskPredictor, SharedMaps
from lexiseg_model.methods.tiny.prompt_maps import Prompts
from lexiseg_model.methods.tiny.settings import BoxRule
from lexiseg_model.segmenter import PromptMasks
from lexiseg_model.types import Point, Prompt

MAX_BATCH = 50  # prompts in one pass through the head
NO_BOX = (0.0, 0.0, 0.0, 0.0)

# (logits [N, M, h, w], quality [N, M] in 0..1) -> indices of the masks [N, M], best first.
Order = Callable[[Tensor, Tensor], Tensor]

# (logits [N, h, w], boxes [N, 4] in pixels of the network's input, has_box [N]) -> logits [N, h, w].
Colours = Callable[[Tensor, Tensor, Tensor], Tensor]


def predict_masks(
    head: MaskPredictor,
    shared: SharedMaps,
    prompts: Sequence[Prompt],
    scale: tuple[float, float],
    order: Order,
) -> list[PromptMasks]:
    """Predict masks of prompts in one image, logits at stride 4: four for a single positive point, else one.

    Prompts are in pixels of the image, which `scale` (x, y) takes to those of the network's input.
    """
    clicks: list[int] = []
    others: list[int] = []
    for index, prompt in enumerate(prompts):
        (clicks if prompt.is_lone_click else others).append(index)
    answers: dict[int, PromptMasks] = {}
    for indices, predict in ((clicks, head.click_masks), (others, head.prompt_mask)):
        for start in range(0, len(indices), MAX_BATCH):
            batch = indices[start : start + MAX_BATCH]
            predicted = predict(shared, as_tensors([prompts[index] for index in batch], scale, shared.fine.device))
            answers |= zip(batch, _in_order(predicted, order), strict=True)
    return [answers[index] for index in range(len(prompts))]


def refine_by_colours(
    answers: Sequence[PromptMasks], prompts: Sequence[Prompt], scale: tuple[float, float], colours: Colours
) -> list[PromptMasks]:
    """Refine masks by the colours of their objects, for prompts that are `is_exact`."""
    exact = _exact(prompts)
    if not exact:
        return list(answers)
    masks = torch.cat([answers[index].masks for index in exact])
    prompt_of_mask = [prompts[index] for index in exact for _ in answers[index].masks]
    has_box = torch.tensor([prompt.box is not None for prompt in prompt_of_mask], device=masks.device)
    return _with_masks(answers, exact, colours(masks, _boxes(prompt_of_mask, scale, masks.device), has_box))


def clip_and_clean(
    answers: Sequence[PromptMasks],
    prompts: Sequence[Prompt],
    scale: tuple[float, float],
    rules: Sequence[BoxRule],
    crumbs: CrumbRule,
) -> list[PromptMasks]:
    """Clip masks to their box by its rule, and remove small islands and holes, for prompts that are `is_exact`."""
    exact = _exact(prompts)
    if not exact:
        return list(answers)
    clipped = [
        answers[index].masks
        if prompts[index].box is None
        else clip_to_box(*answers[index], _boxes([prompts[index]], scale, answers[0].masks.device)[0], rules[index])
        for index in exact
    ]
    return _with_masks(answers, exact, without_crumbs(torch.cat(clipped), crumbs))


def _exact(prompts: Sequence[Prompt]) -> list[int]:
    return [index for index, prompt in enumerate(prompts) if is_exact(prompt)]


def _with_masks(answers: Sequence[PromptMasks], indices: Sequence[int], masks: Tensor) -> list[PromptMasks]:
    """The answers, of which those at `indices` have the masks [N, h, w], one after the other."""
    changed = dict(zip(indices, masks.split_with_sizes([len(answers[index].masks) for index in indices]), strict=True))
    return [answer._replace(masks=changed.get(index, answer.masks)) for index, answer in enumerate(answers)]


def is_exact(prompt: Prompt) -> bool:
    """Whether a prompt can be taken literally: its box is not rough, and no positive point is outside it."""
    return prompt.box is None or (not prompt.rough and all(map(partial(_holds, prompt.box), prompt.points)))


def _holds(box: tuple[float, float, float, float], point: Point) -> bool:
    """Whether a point is negative or lies in the box."""
    return not point.positive or (box[0] <= point.x <= box[2] and box[1] <= point.y <= box[3])


def _boxes(prompts: Sequence[Prompt], scale: tuple[float, float], device: torch.device) -> Tensor:
    """Boxes [N, 4] in pixels of the network's input; NO_BOX for prompts without one."""
    boxes = torch.tensor([prompt.box or NO_BOX for prompt in prompts], device=device)
    return boxes * torch.tensor(scale * 2, device=device)


def as_tensors(prompts: Sequence[Prompt], scale: tuple[float, float], device: torch.device) -> Prompts:
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


def _in_order(predicted: MaskAnswers, order: Order) -> list[PromptMasks]:
    masks, quality = predicted.masks[0].float(), predicted.quality[0].float().sigmoid()
    if masks.shape[1] > 1:
        indices = order(masks, quality)
        rows = torch.arange(len(indices), device=indices.device)[:, None]
        masks, quality = masks[rows, indices], quality.gather(1, indices)
    return [PromptMasks(*answer) for answer in zip(masks, quality, strict=True)]
