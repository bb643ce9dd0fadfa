"""Regions of a picture, from any model that proposes masks."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.clip import windowed
from lexiseg_model.errors import OptionError, TaskError
from lexiseg_model.features import Features
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.video.sam import PromptHead
from lexiseg_model.video.sam_grid import Grid, everything

GRID = Grid(side=8, quality=0.4, stability=0.4)  # of SAM 2 and 3: CorrCLIP's, the quick one


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
    head = getattr(model, "sam_head", None)
    if isinstance(head, PromptHead):
        return everything(head, features, GRID).masks
    try:
        return model.propose(features).masks
    except TaskError:
        raise OptionError(f"{model.card.name} proposes no masks; expected a model that does") from None
