"""Label map and confidence map of overlapping masks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.masks.rle import decode_spans
from lexiseg_model.types import LabelMap, Rle


def label_map(
    masks: Sequence[tuple[int, Rle]], size: tuple[int, int], check: Callable[[], None] = lambda: None
) -> LabelMap:
    """Paint masks of `size` (H, W), each with a value of 1 to 65,535, into a label map, earlier ones on top.

    [H, W] uint8, or uint16 if a value needs it; 0 where there is no mask. `check` may raise to cancel.
    """
    largest = max((value for value, _ in masks), default=0)
    labels: LabelMap = np.zeros(size[0] * size[1], np.uint8 if largest < 256 else np.uint16)
    for value, mask in reversed(masks):
        check()
        _paint(labels, mask, value)
    return np.ascontiguousarray(labels.reshape(size[1], size[0]).T)


def overlapping(masks: Sequence[Rle], size: tuple[int, int], check: Callable[[], None] = lambda: None) -> bool:
    """Whether any two masks share a pixel; `check` as in `label_map`."""
    if sum(mask.area for mask in masks) > size[0] * size[1]:
        return True
    covered = np.zeros(size[0] * size[1], np.bool_)
    for mask in masks:
        check()
        _paint(covered, mask, True)
    return int(covered.sum()) < sum(mask.area for mask in masks)


def _paint(columns: NDArray[np.generic], mask: Rle, value: int | bool) -> None:
    """Paint the runs of a mask into a column-major image [W * H]."""
    for start, end in decode_spans(mask).tolist():
        columns[start:end] = value


def confidence(logits: Sequence[Tensor], size: tuple[int, int]) -> NDArray[np.float32]:
    """Confidence [H, W] in 0.5..1 of each pixel being inside one of the masks, logits [h, w] each, or outside all.

    It is the sigmoid of the highest logit's absolute value; 1 without masks.
    """
    if not logits:
        return np.ones(size, np.float32)
    highest = torch.stack(tuple(logits)).amax(0).float().cpu()
    distance = F.interpolate(highest[None, None], size=size, mode="bilinear", align_corners=False)[0, 0]
    certain: NDArray[np.float32] = distance.abs().sigmoid_().numpy()
    return certain
