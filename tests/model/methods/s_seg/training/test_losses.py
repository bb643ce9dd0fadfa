"""Parts of the network that each of S-Seg's losses trains."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from lexiseg_model.clip.text import tokenize
from lexiseg_model.methods.s_seg.training.losses import Losses, LossSettings, SSegLosses
from lexiseg_model.methods.s_seg.training.pseudo_masks import PseudoMasks
from tests.model.methods.s_seg.small import small_network

COLOURS = {"red": 0, "green": 1, "blue": 2, "dark": 3}


@cache
def batch() -> tuple[Tensor, Tensor, PseudoMasks]:
    """Four images [4, 3, 64, 64] of a square each, their captions, and the square and its surroundings as masks."""
    images, masks = torch.zeros(4, 3, 64, 64), torch.zeros(4, 2, 16, 16)
    for index in range(4):
        top, left = 16 * (index // 2), 16 * (index % 2)
        masks[index, 0, top // 4 : top // 4 + 8, left // 4 : left // 4 + 8] = 1
        if index < 3:
            images[index, index, top : top + 32, left : left + 32] = 2.0
        else:
            images[index, :, top : top + 32, left : left + 32] = -2.0
    masks[:, 1] = 1 - masks[:, 0]
    present = torch.ones(4, 2, dtype=torch.bool)
    present[3, 1] = False  # so that processes have different numbers of masks
    return images, tokenize([f"a {colour} square" for colour in COLOURS]), PseudoMasks(masks, present)


def step(settings: LossSettings, rows: slice = slice(None)) -> tuple[Losses, dict[str, Tensor]]:
    """Losses of some of the batch and the gradients of all weights that have one; the network is in eval mode."""
    images, tokens, (masks, present) = batch()
    criterion = SSegLosses(small_network(), settings)
    losses = criterion(images[rows], tokens[rows], PseudoMasks(masks[rows], present[rows]))
    losses.total.backward()
    gradients = {
        name: weight.grad
        for name, weight in criterion.network.named_parameters()
        if weight.grad is not None and weight.grad.any()
    }
    return losses, gradients


def parts(gradients: dict[str, Tensor]) -> set[str]:
    return {".".join(name.split(".")[: 3 if name.startswith("sem_seg_head.predictor") else 2]) for name in gradients}


def test_the_caption_loss_trains_queries_and_backbone_but_not_the_mask_head() -> None:
    _, gradients = step(LossSettings(masks=0))
    moved = parts(gradients)

    assert {"backbone.body", "sem_seg_head.predictor.transformer", "text.transformer", "contrast.log_scale"} <= moved
    assert not moved & {"sem_seg_head.predictor.mask_embed", "sem_seg_head.pixel_decoder"}


def test_the_mask_loss_trains_queries_and_backbone_but_not_the_text_tower() -> None:
    _, gradients = step(LossSettings(contrast=0))
    moved = parts(gradients)

    assert {"backbone.body", "sem_seg_head.predictor.transformer", "sem_seg_head.predictor.mask_embed"} <= moved
    assert "sem_seg_head.pixel_decoder" in moved
    assert not [name for name in moved if name.startswith(("text", "image_projector", "contrast"))]
