"""What stage one is asked of a batch of crops: a grid of points, boxes, and several points for one object."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.data.pairs.source import Skipped
from lexiseg_model.methods.unpair_seg.training.masked import Crop, Masks
from lexiseg_model.methods.unpair_seg.training.recipe import PromptSettings

OFF = 0.5  # chance that a further point is off the object
NEAR = 0.25  # of a box's sides: how far around it points off an object lie


class MaskBatch(NamedTuple):
    """B crops and what is asked of them, pixels counted as in the crops.

    `images` uint8 [B, 3, S, S]; `targets`: for each image its objects [K, S, S] uint8. `boxed` [B, Q] and `pointed`
    [B, P] int64 say which object a prompt is for; `boxes` [B, Q, 4] x0, y0, x1, y1; `points` [B, P, n, 2] (x, y) and
    whether each is on the object, `positive` [B, P, n]. `skipped` could not be read.
    """

    images: Tensor
    targets: list[Tensor]
    boxed: Tensor
    boxes: Tensor
    pointed: Tensor
    points: Tensor
    positive: Tensor
    skipped: tuple[Skipped, ...]


def ask(crops: Sequence[Crop], settings: PromptSettings, random: np.random.Generator) -> MaskBatch:
    """Draws prompts: each object once, then again from the first where more are asked."""
    boxed, pointed = (
        [_chosen(len(crop.masks), n, random) for crop in crops] for n in (settings.boxes, settings.several)
    )
    boxes = [_boxes(crop.masks)[which] for crop, which in zip(crops, boxed, strict=True)]
    several = [
        [_points(crop.masks[which], settings.points, random) for which in mine]
        for crop, mine in zip(crops, pointed, strict=True)
    ]
    n_points = (len(crops), settings.several, settings.points)
    places = np.array([[points for points, _ in mine] for mine in several], np.float32).reshape(*n_points, 2)
    positive = np.array([[on for _, on in mine] for mine in several], bool).reshape(n_points)
    return MaskBatch(
        torch.from_numpy(np.stack([crop.image for crop in crops])),
        [torch.from_numpy(crop.masks.astype(np.uint8)) for crop in crops],
        torch.from_numpy(np.stack(boxed)),
        torch.from_numpy(np.stack(boxes)),
        torch.from_numpy(np.stack(pointed)),
        torch.from_numpy(places),
        torch.from_numpy(positive),
        tuple(skipped for crop in crops for skipped in crop.skipped),
    )


def grid(n: int, size: int) -> Tensor:
    """[n * n, 2] (x, y): centres of n x n equal squares of a crop."""
    steps = (torch.arange(n) + 0.5) * (size / n)
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    return torch.stack([x, y], -1).flatten(0, 1)


def _chosen(n_objects: int, n_prompts: int, random: np.random.Generator) -> NDArray[np.int64]:
    return np.resize(random.permutation(n_objects), n_prompts).astype(np.int64)


def _boxes(masks: Masks) -> NDArray[np.float32]:
    """Tight boxes [K, 4] of masks that are not empty, x0, y0, x1, y1 at the pixels' outer sides."""
    boxes = np.empty((len(masks), 4), np.float32)
    for index, mask in enumerate(masks):
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        boxes[index] = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    return boxes


def _points(
    mask: NDArray[np.bool_], n: int, random: np.random.Generator
) -> tuple[list[tuple[float, float]], list[bool]]:
    """n points, pixel centres, the first on the object; those off it lie around it."""
    inside = np.argwhere(mask)
    (top, left), (bottom, right) = inside.min(0), inside.max(0) + 1
    margin_y, margin_x = (int(NEAR * side) + 1 for side in (bottom - top, right - left))
    y, x = max(0, top - margin_y), max(0, left - margin_x)
    outside = np.argwhere(~mask[y : bottom + margin_y, x : right + margin_x]) + np.array([y, x])
    points, positive = [], []
    for index in range(n):
        on = index == 0 or not len(outside) or random.random() >= OFF
        row, column = (inside if on else outside)[random.integers(len(inside if on else outside))]
        points.append((float(column) + 0.5, float(row) + 0.5))
        positive.append(on)
    return points, positive
