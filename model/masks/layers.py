"""Masks that may overlap, laid over each other: as one label map, and how sure that is."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.masks.bilinear import upsampled
from model.masks.rle import decode_in_box
from model.types import LabelMap, Rle


def first_of_each(groups: Sequence[Hashable]) -> list[int]:
    """Indices of the first member of each group, ascending."""
    return sorted(dict(zip(reversed(groups), reversed(range(len(groups))), strict=True)).values())


def label_map(masks: Sequence[Rle], shown: Sequence[int], size: tuple[int, int]) -> LabelMap:
    """Some of the masks, the earlier on top.

    Args:
        masks: whose numbers, counted from 1, are the values.
        shown: indices of those that are seen.
        size: (H, W) of all masks.

    Returns:
        [H, W] uint8, uint16 from 256 masks on; 0 where none lies.
    """
    labels: LabelMap = np.zeros(size, np.uint8 if len(masks) < 256 else np.uint16)
    for index in reversed(shown):
        x, y, width, height = masks[index].bbox
        labels[y : y + height, x : x + width][decode_in_box(masks[index])] = index + 1
    return labels


def overlapping(masks: Sequence[Rle], size: tuple[int, int]) -> bool:
    """Whether any two share a pixel."""
    if sum(mask.area for mask in masks) > size[0] * size[1]:
        return True
    taken = np.zeros(size, np.bool_)
    for mask in masks:
        x, y, width, height = mask.bbox
        part, there = decode_in_box(mask), taken[y : y + height, x : x + width]
        if (part & there).any():
            return True
        there |= part
    return False


def confidence(logits: Sequence[Tensor], size: tuple[int, int]) -> NDArray[np.float32]:
    """How sure it is of each pixel that it lies inside one of the masks, or in none.

    Args:
        logits: [h, w] of each mask.
        size: (H, W) of the answer.

    Returns:
        [H, W] in 0.5..1: the sigmoid of the distance from 0 of the highest logit; 1 without masks.
    """
    if not logits:
        return np.ones(size, np.float32)
    highest = torch.stack(tuple(logits)).amax(0).float()
    sure = upsampled(highest.cpu().numpy(), size)
    return np.asarray(torch.from_numpy(np.abs(sure, out=sure)).sigmoid_().numpy())
