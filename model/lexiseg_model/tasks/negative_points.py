"""Negative points of prompts: each removes the part of the mask around it.

A head that has learned what a negative point means is asked with all points. Any other head may ignore a negative
point, or answer it with a larger mask. So the mask is that of the box and the positive points alone, and a negative
point never adds anything. The head then gets the first negative point, the first two, and so on. Each of these answers
says which connected part of the mask around the newest point to remove. Where an answer keeps the point, a disc around
it is removed, halfway to the outline of the mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from lexiseg_model.features import Features
from lexiseg_model.internal import LearnedNegativePoints
from lexiseg_model.segmenter import PromptMasks, Segmenter, prompts_of
from lexiseg_model.tasks.point_rules import first_cells, without_point
from lexiseg_model.types import Point, Prompt

MAX_ANSWERS = 8  # of the head to the points that correct a prompt; later points use the last of them

Size = tuple[int, int]  # height and width


class Answer(NamedTuple):
    """The masks of a prompt without its negative points, and the head's answers with them.

    `without` [N, h, w]: logits with the first negative point, the first two, ..., at most MAX_ANSWERS.
    """

    prompt: Prompt
    masks: PromptMasks
    without: Tensor | None = None


def n_asked(prompt: Prompt) -> int:
    """Number of prompts that the head gets for one prompt; one with only negative points is passed unchanged."""
    n_negative = len(prompt.negatives)
    if prompt.box is None and n_negative == len(prompt.points):
        return 1
    return 1 + min(n_negative, MAX_ANSWERS)


def prompt_masks(segmenter: Segmenter, features: Features, prompts: Sequence[Prompt]) -> list[PromptMasks]:
    """As `Prompts.prompt`, with the negative points applied."""
    answers = answers_to(segmenter, features, prompts)
    return [
        PromptMasks(without_negatives(answer.masks.masks, answer, features.size), answer.masks.quality)
        for answer in answers
    ]


def answers_to(segmenter: Segmenter, features: Features, prompts: Sequence[Prompt]) -> list[Answer]:
    """Answer prompts: one mask where there are negative points, with the quality of the head's last answer.

    Prompts without negative points go through the head apart from the others, because rounding depends on the batch.
    """
    if isinstance(segmenter, LearnedNegativePoints):
        return [*map(Answer, prompts, segmenter.prompt_with_negatives(features, prompts))]
    steps = [_steps_of(prompt) for prompt in prompts]
    firsts = prompts_of(segmenter).prompt(features, [first for first, *_ in steps])
    corrected = [each for _, *rest in steps for each in rest]
    replies = iter(prompts_of(segmenter).prompt(features, corrected) if corrected else ())
    answers = []
    for prompt, first, (_, *rest) in zip(prompts, firsts, steps, strict=True):
        if not rest:
            answers.append(Answer(prompt, first))
            continue
        some = [next(replies) for _ in rest]
        without = torch.stack([reply.masks[0] for reply in some]).float()
        answers.append(Answer(prompt, PromptMasks(first.masks[:1], some[-1].quality[:1]), without))
    return answers


def without_negatives(masks: Tensor, answer: Answer, size: Size) -> Tensor:
    """Masks of an answer, logits [M, h, w] of any resolution, refined or not, without what negative points remove."""
    without = answer.without
    if without is None:
        return masks
    if without.shape[1:] != masks.shape[1:]:
        without = F.interpolate(without[None], masks.shape[1:], mode="bilinear", align_corners=False)[0]
    return torch.stack([_reduced(mask, answer.prompt, without, size) for mask in masks])


def _steps_of(prompt: Prompt) -> list[Prompt]:
    if n_asked(prompt) == 1:
        return [prompt]
    positives, negatives = prompt.positives, prompt.negatives
    return [replace(prompt, points=positives + negatives[:n]) for n in range(n_asked(prompt))]


def _reduced(mask: Tensor, prompt: Prompt, without: Tensor, size: Size) -> Tensor:
    """One mask [h, w], a negative point after the other."""
    left = mask.float()
    positives, negatives = (cells_of_points(some, left, size) for some in (prompt.positives, prompt.negatives))
    for number, point in enumerate(negatives):
        left = without_point(left, without[min(number, len(without) - 1)], point, positives)
    return left


def cells_of_points(points: Sequence[Point], mask: Tensor, size: Size) -> Tensor:
    """Points of an image of `size` (H, W) as cells [N, 2] of its mask [h, w], on its device."""
    pixels = torch.tensor([(point.x, point.y) for point in points], dtype=torch.float32).view(-1, 2)
    return first_cells(pixels, (mask.shape[0], mask.shape[1]), torch.tensor(size).float()).to(mask.device)
