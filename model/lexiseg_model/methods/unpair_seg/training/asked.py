"""Prompts that stage one learns from: a grid of points, boxes, and several points for one object."""

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

OFF = 0.5  # probability that a further point lies off the object
NEAR = 0.25  # greatest distance of points off an object from its box, as a share of the box's sides


class MaskBatch(NamedTuple):
    """B crops with their prompts, in pixels of the crops.

    Attributes:
        images: uint8 [B, 3, S, S].
        targets: objects uint8 [K, S, S] of each image, 0 or 1.
        boxed: int64 [B, Q], the object of each box.
        boxes: [B, Q, 4], x0, y0, x1, y1.
        pointed: int64 [B, P], the object of each set of points.
        points: [B, P, n, 2], (x, y).
        positive: bool [B, P, n], whether a point lies on the object.
        skipped: photographs that could not be read.
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
    """Draw the prompts of crops; if there are more prompts than objects, the objects repeat."""
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
    """Centres (x, y) of n x n equal squares of a crop of side `size`: [n * n, 2]."""
    steps = (torch.arange(n) + 0.5) * (size / n)
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    return torch.stack([x, y], -1).flatten(0, 1)


def _chosen(n_objects: int, n_prompts: int, random: np.random.Generator) -> NDArray[np.int64]:
    return np.resize(random.permutation(n_objects), n_prompts).astype(np.int64)


def _boxes(masks: Masks) -> NDArray[np.float32]:
    """Tight boxes [K, 4] of non-empty masks, x0, y0, x1, y1 at the outer sides of pixels."""
    boxes = np.empty((len(masks), 4), np.float32)
    for index, mask in enumerate(masks):
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        boxes[index] = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    return boxes


def _points(
    mask: NDArray[np.bool_], n: int, random: np.random.Generator
) -> tuple[list[tuple[float, float]], list[bool]]:
    """Draw n pixel centres (x, y) and whether they lie on the object; the first does, the others may lie around it."""
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
