"""A box is around the object: what the head sees inside of it is believed a little more, what lies outside not at all.

The head learned boxes that are off by a few percent, and answers as if every box were. Figures: docs/training.md.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lexiseg_model.methods.tiny.network import STRIDE
from lexiseg_model.methods.tiny.settings import BoxRule

STEEP = 8.0  # logits a cell of the edge beyond which nothing is: steeper than what masks have
LEAST_QUALITY = 1e-3  # has a logarithm, too


def kept_inside(masks: Tensor, quality: Tensor, box: Tensor, rule: BoxRule) -> Tensor:
    """Masks that end where their box does.

    The IoU that is expected grows by every cell that is likelier than IoU / (1 + IoU) to be of the object, the logit of
    which is ln(IoU). So the less is expected of a mask, the more cells it takes.

    Args:
        masks: logits [M, h, w] at stride 4 of the network's input.
        quality: [M] in 0..1, the IoU that each is expected to have.
        box: [4] x0, y0, x1, y1 in pixels of that input.
        rule: how much more the inside is believed, and how far beyond the box a mask may reach.
    """
    low, high = box[:2], box[2:]
    slack = rule.slack * (high - low)
    (left, top), (right, bottom) = (low - slack) / STRIDE, (high + slack) / STRIDE
    y, x = (torch.arange(side, device=masks.device) + 0.5 for side in masks.shape[1:])
    across = torch.minimum(x - left, right - x)
    down = torch.minimum(y - top, bottom - y)
    cells = ((high - low) / STRIDE).prod().clamp_min(1.0)
    more = rule.more + rule.small / cells - rule.doubt * quality.clamp_min(LEAST_QUALITY).log()
    # A ramp, not a step: brought to the image's size its 0 lies on the box's edge, wherever that is in a cell.
    return torch.minimum(masks + more[:, None, None], STEEP * torch.minimum(across, down[:, None]))


def within(boxes: Tensor, size: tuple[int, int], beyond: float = 0.0) -> Tensor:
    """[N, h, w] bool: the cells of stride 4 whose centres lie in a box.

    Args:
        boxes: [N, 4] x0, y0, x1, y1 in pixels of the network's input.
        size: (h, w) cells.
        beyond: so much of its sides each box is larger on each side, at least one cell where it is larger at all.
    """
    low, high = boxes[:, :2] / STRIDE, boxes[:, 2:] / STRIDE
    reach = (beyond * (high - low)).clamp_min(1.0 if beyond else 0.0)
    (left, top), (right, bottom) = ((side[:, :, None]).unbind(1) for side in (low - reach, high + reach))  # [N, 1]
    y, x = (torch.arange(side, device=boxes.device) + 0.5 for side in size)
    across, down = (x > left) & (x < right), (y > top) & (y < bottom)
    return down[:, :, None] & across[:, None]
