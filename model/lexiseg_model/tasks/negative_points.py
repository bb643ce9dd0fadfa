"""Negative points of prompts: each removes the part of the mask around it and never adds anything.

A prompt head may ignore a negative point, or answer it with a larger mask. So the mask is that of the box and the
positive points alone. The head then gets the first negative point, the first two, and so on. Each of these answers says
which connected part of the mask around the newest point to remove. Where an answer keeps the point, a disc around it is
removed, halfway to the outline of the mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.features import Features
from lexiseg_model.masks.bilinear import axis
from lexiseg_model.segmenter import PromptMasks, Segmenter, prompts_of
from lexiseg_model.types import Point, Prompt

MAX_ANSWERS = 8  # of the head to the negative points of a prompt; later points use the last of them
DISC = 0.5  # of the way from a negative point to the outline, or to the nearest positive point
OUTSIDE = -1.0  # highest logit in a disc and next to a negative point

Size = tuple[int, int]  # height and width
Cells = tuple[slice, slice]  # rows and columns, one or two of each


class Answer(NamedTuple):
    """The masks of a prompt without its negative points, and the head's answers with them.

    `without` [N, h, w]: logits with the first negative point, the first two, ..., at most MAX_ANSWERS.
    """

    prompt: Prompt
    masks: PromptMasks
    without: Tensor | None = None


def n_asked(prompt: Prompt) -> int:
    """Number of prompts that the head gets for one prompt; one with only negative points is passed unchanged."""
    n_negative = len(_points(prompt, positive=False))
    if prompt.box is None and n_negative == len(prompt.points):
        return 1
    return 1 + min(n_negative, MAX_ANSWERS)


def prompt_masks(segmenter: Segmenter, features: Features, prompts: Sequence[Prompt]) -> list[PromptMasks]:
    """As `Prompts.prompt`, with the negative points applied."""
    answers = ask(segmenter, features, prompts)
    return [
        PromptMasks(without_negatives(answer.masks.masks, answer, features.size), answer.masks.quality)
        for answer in answers
    ]


def ask(segmenter: Segmenter, features: Features, prompts: Sequence[Prompt]) -> list[Answer]:
    """Answer prompts: one mask where there are negative points, with the quality of the head's last answer.

    Prompts without negative points go through the head apart from the others, because rounding depends on the batch.
    """
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
    """Masks without what the negative points remove.

    Args:
        masks: logits [M, h, w] of the answer, refined or not, at any resolution.
        answer: of `ask`.
        size: (H, W) of the image.
    """
    without = answer.without
    if without is None:
        return masks
    if without.shape[1:] != masks.shape[1:]:
        without = F.interpolate(without[None], masks.shape[1:], mode="bilinear", align_corners=False)[0]
    return torch.stack([_reduced(mask, answer.prompt, without, size) for mask in masks])


def _points(prompt: Prompt, positive: bool) -> tuple[Point, ...]:
    return tuple(point for point in prompt.points if point.positive == positive)


def _steps_of(prompt: Prompt) -> list[Prompt]:
    if n_asked(prompt) == 1:
        return [prompt]
    positives, negatives = _points(prompt, True), _points(prompt, False)
    return [replace(prompt, points=positives + negatives[:n]) for n in range(n_asked(prompt))]


def _reduced(mask: Tensor, prompt: Prompt, without: Tensor, size: Size) -> Tensor:
    """One mask [h, w], a negative point after the other."""
    left = mask.float().numpy(force=True).copy()
    positives = [neighbours(point, left.shape, size) for point in _points(prompt, True)]
    to_positive = _to_nearest(left.shape, positives)
    for number, point in enumerate(_points(prompt, False)):
        answer = without[min(number, len(without) - 1)].numpy(force=True)
        cells = neighbours(point, left.shape, size)
        inside = left >= 0
        removed = part_around(inside & (answer < 0), cells)
        if any(removed[positive].any() for positive in positives):
            removed = part_around(removed & (_distance(left.shape, cells) < to_positive), cells)
        if removed.any():
            left[removed] = np.minimum(left, answer)[removed]
        elif inside[cells].any():
            left[inside & disc(inside, cells, positives)] = OUTSIDE
        left[cells] = np.minimum(left[cells], OUTSIDE)
    return torch.from_numpy(left).to(mask.device)


def neighbours(point: Point, cells: tuple[int, ...], size: Size) -> Cells:
    """The cells of a mask between which the pixel of a point is interpolated."""
    sides = []
    for place, n_cells, n_pixels in zip((point.y, point.x), cells, size, strict=True):
        low = int(axis(n_cells, n_pixels).low[min(int(place), n_pixels - 1)])
        sides.append(slice(low, min(low + 2, n_cells)))
    return sides[0], sides[1]


def part_around(region: NDArray[np.bool_], cells: Cells) -> NDArray[np.bool_]:
    """The connected parts of a region [h, w] that some cells touch."""
    _, parts = cv2.connectedComponents(region.astype(np.uint8), connectivity=4)
    touched = np.zeros(parts.max() + 1, np.bool_)
    touched[parts[cells]] = True
    around: NDArray[np.bool_] = region & touched[parts]
    return around


def _distance(shape: Size, cells: Cells) -> NDArray[np.float64]:
    """[h, w]: the distance of each cell from the first of `cells`."""
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    distance: NDArray[np.float64] = np.hypot(rows - cells[0].start, columns - cells[1].start)
    return distance


def _to_nearest(shape: Size, positives: Sequence[Cells]) -> NDArray[np.float64]:
    """[h, w]: the distance of each cell from the nearest positive point."""
    nearest = np.full(shape, np.inf)
    for cells in positives:
        np.minimum(nearest, _distance(shape, cells), out=nearest)
    return nearest


def disc(inside: NDArray[np.bool_], cells: Cells, positives: Sequence[Cells]) -> NDArray[np.bool_]:
    """[h, w]: the cells within DISC of the distance from a negative point to the outline or a positive point."""
    depth = cv2.distanceTransform(np.pad(inside, 1).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    distance = _distance(inside.shape, cells)
    reach = min([float(depth[cells].max()), *(float(distance[positive].min()) for positive in positives)])
    around: NDArray[np.bool_] = distance < DISC * reach
    return around
