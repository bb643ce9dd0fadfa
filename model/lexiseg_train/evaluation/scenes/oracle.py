"""Oracle IoU of prompts: the IoU of each object with the best mask for a point or a box."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.abilities import prompts_of
from lexiseg_model.features import Features
from lexiseg_model.masks.regions import tight_box
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.types import Point, Prompt
from lexiseg_train.data.scenes import Objects

PROMPTS_AT_ONCE = 64
PIXELS_AT_ONCE = 1 << 24  # of masks at the photograph's size


class Reached(NamedTuple):
    """IoU [O] in 0..1 of each object with the best mask and with the model's first; None where there is no order."""

    best: NDArray[np.float64]
    first: NDArray[np.float64] | None


class PromptProtocol(NamedTuple):
    """The prompts for objects; `settings` describe them in reports."""

    settings: dict[str, Any]
    reach: Callable[[Segmenter, Features, Objects], Reached]


def centre_points() -> PromptProtocol:
    """One point for each object, at its deepest pixel."""
    return _one_each({"points": "centre"}, lambda mask: Prompt((deepest_point(mask),)))


def tight_boxes() -> PromptProtocol:
    """One tight box for each object."""
    return _one_each({}, lambda mask: Prompt(box=tight_box(mask)))


def _one_each(settings: dict[str, Any], prompt_of: Callable[[NDArray[np.bool_]], Prompt]) -> PromptProtocol:

    def reach(segmenter: Segmenter, features: Features, objects: Objects) -> Reached:
        prompts = [prompt_of(objects.ids == index + 1) for index in range(len(objects.labels))]
        best, first = np.zeros((2, len(prompts)))
        numbers = _object_numbers(objects)
        for start in range(0, len(prompts), PROMPTS_AT_ONCE):
            for index, answer in enumerate(
                prompts_of(segmenter).prompt(features, prompts[start : start + PROMPTS_AT_ONCE]), start
            ):
                if len(answer.masks):
                    ious = _overlaps(answer.masks, numbers, len(prompts))[:, index]
                    best[index], first[index] = ious.max(), ious[0]
        return Reached(best, first)

    return PromptProtocol(settings, reach)


def point_grid(n: int) -> PromptProtocol:
    """For each object the best of all masks of an n x n grid of points, without suppression; n is at least 1."""

    def reach(segmenter: Segmenter, features: Features, objects: Objects) -> Reached:
        best = np.zeros(len(objects.labels))
        numbers = _object_numbers(objects)
        prompts = [Prompt((point,)) for point in grid_points(n, features.size)]
        for start in range(0, len(prompts), PROMPTS_AT_ONCE):
            answers = prompts_of(segmenter).prompt(features, prompts[start : start + PROMPTS_AT_ONCE])
            masks = torch.cat([answer.masks for answer in answers])
            if len(masks):
                best = np.maximum(best, _overlaps(masks, numbers, len(best)).max(0))
        return Reached(best, None)

    return PromptProtocol({"points": "grid", "grid": n}, reach)


def deepest_point(mask: NDArray[np.bool_]) -> Point:
    """Centre of the pixel farthest from the mask's outline and the picture's border (SAM, Kirillov et al., 2023)."""
    depth = cv2.distanceTransform(np.pad(mask.astype(np.uint8), 1), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    row, column = divmod(int(depth.argmax()), mask.shape[1])
    return Point(column + 0.5, row + 0.5)


def grid_points(n: int, size: tuple[int, int]) -> list[Point]:
    """Centres of n x n equal cells of an image of (height, width), row by row."""
    steps = (np.arange(n) + 0.5) / n
    return [Point(float(x * size[1]), float(y * size[0])) for y in steps for x in steps]


def _object_numbers(objects: Objects) -> NDArray[np.int64]:
    """[H, W]: 0 for no object, i + 1 for object i, the number after the last for ignored pixels."""
    return np.where(objects.ignored, len(objects.labels) + 1, objects.ids).astype(np.int64)


def overlaps(masks: Tensor, objects: Objects) -> NDArray[np.float64]:
    """IoU [N, O] of mask logits [N, h, w] with every object, over pixels that are not ignored."""
    return _overlaps(masks, _object_numbers(objects), len(objects.labels))


def _overlaps(masks: Tensor, numbers: NDArray[np.int64], n_objects: int) -> NDArray[np.float64]:
    size = (numbers.shape[0], numbers.shape[1])
    width = n_objects + 2
    objects = torch.from_numpy(numbers).to(masks.device)
    parts = []
    for some in torch.split(masks, max(1, PIXELS_AT_ONCE // numbers.size)):
        inside = F.interpolate(some[:, None].float(), size, mode="bilinear", align_corners=False)[:, 0] >= 0
        pairs = objects + width * torch.arange(len(some), device=objects.device)[:, None, None]
        parts.append(torch.bincount(pairs[inside], minlength=width * len(some)).view(-1, width).cpu().numpy())
    shared = np.concatenate(parts)
    truth = np.bincount(numbers.reshape(-1), minlength=width)[1 : n_objects + 1]
    areas = shared[:, : n_objects + 1].sum(1, keepdims=True)
    common = shared[:, 1 : n_objects + 1]
    ious: NDArray[np.float64] = common / np.maximum(areas + truth - common, 1)
    return ious
