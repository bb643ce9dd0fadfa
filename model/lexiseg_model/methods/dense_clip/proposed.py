"""Regions of a picture, from any model that proposes masks or takes clicks."""

from __future__ import annotations

from contextlib import suppress as without

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.clip import windowed
from lexiseg_model.errors import OptionError, TaskError
from lexiseg_model.features import Features
from lexiseg_model.masks.nms import suppress
from lexiseg_model.masks.overlap_rule import OverlapRule
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.types import Point, Prompt

# Of clicks, where a model proposes nothing itself: SAM 2's settings in CorrCLIP, the quick ones.
CLICKS = 8  # along each side
LEAST = 0.4  # quality, and stability: IoU of the mask at a logit of 1 with that at -1
OVERLAPS = OverlapRule(overlap=0.7, inside=None)


@torch.inference_mode()
def region_map(model: Segmenter, rgb: NDArray[np.uint8]) -> Tensor:
    """Label the pixels of a picture [H, W, 3]: int16 [H, W], 0 for no region. The larger mask lies on top, as released.

    Raises:
        OptionError: the model has no masks.
    """
    masks = _masks(model, model.encode(rgb))
    labels = torch.zeros(rgb.shape[:2], dtype=torch.int16, device=masks.device)
    order = (masks > 0).sum((1, 2)).argsort(stable=True)
    for number, index in enumerate(order.tolist(), start=1):
        labels[windowed.resize(masks[index, None].float(), (rgb.shape[0], rgb.shape[1]))[0] > 0] = number
    return labels


def _masks(model: Segmenter, features: Features) -> Tensor:
    """Logits [N, h, w] of everything that the model finds."""
    with without(TaskError):
        return model.propose(features).masks
    height, width = features.size
    steps = [(index + 0.5) / CLICKS for index in range(CLICKS)]
    clicks = [Prompt((Point(x * width, y * height),), glance=True) for y in steps for x in steps]
    try:
        answers = model.prompt(features, clicks)
    except TaskError:
        raise OptionError(f"{model.card.name} neither proposes masks nor takes clicks; expected one of both") from None
    masks = torch.stack([answer.masks[0] for answer in answers]).float()  # the best of what a click may mean
    quality = torch.stack([answer.quality[0] for answer in answers])
    stability = (masks > 1).sum((1, 2)) / (masks > -1).sum((1, 2)).clamp_min(1)
    good = (quality >= LEAST) & (stability >= LEAST)
    masks, quality = masks[good], quality[good]
    return masks[suppress(masks > 0, quality, OVERLAPS)]
