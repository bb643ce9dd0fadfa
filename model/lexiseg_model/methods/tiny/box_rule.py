"""A box is around the object: what the head sees inside of it is believed a little more, what lies outside not at all.

The head learned boxes that are off by a few percent, and answers as if every box were. Figures: docs/training.md.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lexiseg_model.methods.tiny.network import STRIDE
from lexiseg_model.methods.tiny.settings import BoxRule

STEEP = 8.0  # logits a cell of the edge beyond which nothing is: steeper than what masks have


def kept_inside(masks: Tensor, box: Tensor, rule: BoxRule) -> Tensor:
    """Masks that end where their box does.

    Args:
        masks: logits [M, h, w] at stride 4 of the network's input.
        box: [4] x0, y0, x1, y1 in pixels of that input.
        rule: how much more the inside is believed, and how far beyond the box a mask may reach.
    """
    low, high = box[:2], box[2:]
    slack = rule.slack * (high - low)
    (left, top), (right, bottom) = (low - slack) / STRIDE, (high + slack) / STRIDE
    y, x = (torch.arange(side, device=masks.device) + 0.5 for side in masks.shape[1:])
    across = torch.minimum(x - left, right - x)
    down = torch.minimum(y - top, bottom - y)
    # A ramp, not a step: brought to the image's size its 0 lies on the box's edge, wherever that is in a cell.
    return torch.minimum(masks + rule.more, STEEP * torch.minimum(across, down[:, None]))
