"""Prompts about one image: they become tensors, pass through the head in batches, and their masks are finished."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from lexiseg_model.masks.specks import CrumbRule, without_crumbs
from lexiseg_model.methods.tiny.mask_rules import kept_inside
from lexiseg_model.methods.tiny.prompt_head import Answering, MaskAnswers, SharedMaps
from lexiseg_model.methods.tiny.prompt_maps import Prompts
from lexiseg_model.methods.tiny.settings import BoxRule
from lexiseg_model.segmenter import PromptMasks
from lexiseg_model.types import Point, Prompt

MAX_BATCH = 50  # prompts in one pass through the head
NO_BOX = (0.0, 0.0, 0.0, 0.0)

# From logits [N, M, h, w] and quality [N, M] in 0..1 to the places of the masks [N, M], first choice first.
Order = Callable[[Tensor, Tensor], Tensor]

# From logits [N, h, w], boxes [N, 4] in pixels of the network's input and whether there is one [N] to logits [N, h, w].
Colours = Callable[[Tensor, Tensor, Tensor], Tensor]


def by_quality(masks: Tensor, quality: Tensor) -> Tensor:
    """The order of the predicted quality."""
    return quality.argsort(dim=1, descending=True, stable=True)


def ask(
    head: Answering,
    shared: SharedMaps,
    prompts: Sequence[Prompt],
    scale: tuple[float, float],
    order: Order = by_quality,
) -> list[PromptMasks]:
    """Ask the head about one image.

    Args:
        head: the learned part.
        shared: of one image.
        prompts: points, boxes or both (`require_shown`), in pixels of the image.
        scale: pixels of the network's input for one of the image, across and down.
        order: which of several masks comes first.

    Returns:
        One answer for each prompt, in order: four masks for one positive point, one for anything else; logits at
        stride 4 of the input.
    """
    lone: list[int] = []
    sure: list[int] = []
    for index, prompt in enumerate(prompts):
        (lone if prompt.is_lone_click else sure).append(index)
    answers: dict[int, PromptMasks] = {}
    for members, answer in ((lone, head.lone), (sure, head.sure)):
        for start in range(0, len(members), MAX_BATCH):
            some = members[start : start + MAX_BATCH]
            found = answer(shared, as_tensors([prompts[index] for index in some], scale, shared.fine.device))
            answers |= zip(some, _in_order(found, order), strict=True)
    return [answers[index] for index in range(len(prompts))]


def coloured(
    answers: Sequence[PromptMasks], prompts: Sequence[Prompt], scale: tuple[float, float], colours: Colours
) -> list[PromptMasks]:
    """Improve the masks of `ask` by the colours of their objects, except for prompts that are not `is_exact`."""
    kept = list(answers)
    meant = [index for index, prompt in enumerate(prompts) if is_exact(prompt)]
    if not meant:
        return kept
    masks = _together([answers[index].masks for index in meant])
    sizes = [len(answers[index].masks) for index in meant]
    of_each = [prompts[index] for index, size in zip(meant, sizes, strict=True) for _ in range(size)]
    has_box = torch.tensor([prompt.box is not None for prompt in of_each], device=masks.device)
    known = colours(masks, _boxes(of_each, scale, masks.device), has_box)
    for index, of_prompt in zip(meant, known.split_with_sizes(sizes), strict=True):
        kept[index] = PromptMasks(of_prompt, answers[index].quality)
    return kept


def ended(
    answers: Sequence[PromptMasks],
    prompts: Sequence[Prompt],
    scale: tuple[float, float],
    rules: Sequence[BoxRule],
    crumbs: CrumbRule,
) -> list[PromptMasks]:
    """Cut the masks of boxes at their box, each by its rule, and remove crumbs, except for prompts not `is_exact`."""
    kept = list(answers)
    meant = [index for index, prompt in enumerate(prompts) if is_exact(prompt)]
    if not meant:
        return kept
    device = answers[0].masks.device
    inside = [
        answers[index].masks
        if prompts[index].box is None
        else kept_inside(*answers[index], _boxes([prompts[index]], scale, device)[0], rules[index])
        for index in meant
    ]
    clean = without_crumbs(_together(inside), crumbs).split_with_sizes([len(masks) for masks in inside])
    for index, of_prompt in zip(meant, clean, strict=True):
        kept[index] = PromptMasks(of_prompt, answers[index].quality)
    return kept


def _together(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def is_exact(prompt: Prompt) -> bool:
    """Whether a prompt can be taken literally: its box is not rough and has no positive point outside."""
    return prompt.box is None or (not prompt.rough and all(map(partial(_holds, prompt.box), prompt.points)))


def _holds(box: tuple[float, float, float, float], point: Point) -> bool:
    """Whether a point lies in a box, or is a negative one."""
    return not point.positive or (box[0] <= point.x <= box[2] and box[1] <= point.y <= box[3])


def _boxes(prompts: Sequence[Prompt], scale: tuple[float, float], device: torch.device) -> Tensor:
    """[N, 4] in pixels of the network's input, NO_BOX without one."""
    if all(prompt.box is None for prompt in prompts):
        return torch.zeros(len(prompts), 4, device=device)
    boxes = torch.tensor([prompt.box or NO_BOX for prompt in prompts], device=device)
    return boxes * torch.tensor(scale * 2, device=device)


def as_tensors(prompts: Sequence[Prompt], scale: tuple[float, float], device: torch.device) -> Prompts:
    """Prompts of one image as tensors, padded to the largest number of points."""
    longest = max(1, *(len(prompt.points) for prompt in prompts))
    points = np.zeros((1, len(prompts), longest, 2), np.float32)
    signs = np.zeros((1, len(prompts), longest), np.float32)
    for place, prompt in enumerate(prompts):
        for row, point in enumerate(prompt.points):
            points[0, place, row] = point.x, point.y
            signs[0, place, row] = 1.0 if point.positive else -1.0
    points *= np.array(scale, np.float32)
    has_box = np.array([[prompt.box is not None for prompt in prompts]], np.float32)
    there = [torch.from_numpy(part).to(device) for part in (points, signs, has_box)]
    return Prompts(there[0], there[1], _boxes(prompts, scale, device)[None], there[2])


def _in_order(found: MaskAnswers, order: Order) -> list[PromptMasks]:
    masks, quality = found.masks[0].float(), found.quality[0].float().sigmoid()
    if masks.shape[1] == 1:  # there is nothing to choose from
        return [PromptMasks(*answer) for answer in zip(masks, quality, strict=True)]
    places = order(masks, quality)
    return [
        PromptMasks(*answer) for answer in zip(masks[_rows(places), places], quality.gather(1, places), strict=True)
    ]


def _rows(places: Tensor) -> Tensor:
    return torch.arange(len(places), device=places.device)[:, None]
