"""Smooth masks of the prompt head along the image's edges, and limit them to exact boxes (docs/quality.md: the
gain)."""

from __future__ import annotations

import torch
from torch import Tensor

from lexiseg_model.masks.pamr import PamrSettings, refine
from lexiseg_model.methods.tiny.network import STRIDE
from lexiseg_model.methods.tiny.settings import BoxRule
from lexiseg_model.types import Prompt

EDGE_SLOPE = 8.0  # logits per cell at the edge of a box; steeper than the edges of masks
MIN_QUALITY = 1e-3  # keeps its logarithm finite
MAX_LOGIT = 3.0  # logits are clipped to it before they are smoothed
SMOOTHING = PamrSettings(iterations=2, dilations=(1, 2))


def smoothed(masks: Tensor, cells: Tensor) -> Tensor:
    """Masks, logits [N, h, w], smoothed along the edges of an image with colours `cells` [3, h, w]."""
    return refine(masks.clamp(-MAX_LOGIT, MAX_LOGIT), cells, SMOOTHING)


def clip_to_box(masks: Tensor, quality: Tensor, box: Tensor, rule: BoxRule) -> Tensor:
    """Cut masks, logits [M, h, w], at their box [4] in pixels of the network's input, and raise their logits inside.

    A cell raises the expected IoU, `quality` [M], if its probability exceeds IoU / (1 + IoU), a logit of ln(IoU).
    """
    low, high = box[:2], box[2:]
    slack = rule.slack * (high - low)
    (left, top), (right, bottom) = (low - slack) / STRIDE, (high + slack) / STRIDE
    y, x = (torch.arange(side, device=masks.device) + 0.5 for side in masks.shape[1:])
    x_distance = torch.minimum(x - left, right - x)
    y_distance = torch.minimum(y - top, bottom - y)
    cells = ((high - low) / STRIDE).prod().clamp_min(1.0)
    more = rule.small / cells - rule.low_quality * quality.clamp_min(MIN_QUALITY).log()
    # A ramp, not a step: after upsampling its zero lies on the edge of the box, within a cell.
    return torch.minimum(masks + more[:, None, None], EDGE_SLOPE * torch.minimum(x_distance, y_distance[:, None]))


def box_holds(points: Tensor, signs: Tensor, box: Tensor, has_box: Tensor) -> Tensor:
    """Whether [] the box [4], if `has_box` [] is 1, holds all positive ones of points [K, 2] with `signs` [K]."""
    inside = ((points >= box[:2]) & (points <= box[2:])).all(1)
    return (inside | (signs <= 0)).all() | (has_box <= 0)


def is_exact(prompt: Prompt) -> bool:
    """Whether a prompt can be taken literally: its box is not rough, and no positive point is outside it."""
    if prompt.box is None:
        return True
    if prompt.rough:
        return False
    points = torch.tensor([(point.x, point.y) for point in prompt.points], dtype=torch.float64).view(-1, 2)
    signs = torch.tensor([1.0 if point.positive else -1.0 for point in prompt.points])
    return bool(box_holds(points, signs, torch.tensor(prompt.box, dtype=torch.float64), torch.tensor(1.0)))
