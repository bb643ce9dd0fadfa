"""Losses and pseudo-masks of S-Seg."""

from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from torch import Tensor, nn

from lexiseg_model.clip.text import tokenize
from lexiseg_model.errors import WeightsError
from lexiseg_train.methods.s_seg.trainer import Inputs, Losses, PseudoMasks, SSegLosses, divide, mask_maker
from lexiseg_train.methods.s_seg.trainings import LossSettings, PseudoMaskSettings
from tests.model.methods.s_seg.small import small_network
from tests.once import kept

COLOURS = {"red": 0, "green": 1, "blue": 2, "dark": 3}


@kept
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
    inputs = Inputs(images[rows], tokens[rows], PseudoMasks(masks[rows], present[rows]))
    losses = criterion.of_rows(criterion.rows(inputs))
    losses.total.backward()  # type: ignore[no-untyped-call]
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


def painted() -> tuple[Tensor, Tensor]:
    """Two images [2, 3, 64, 96] of four plain, noisy regions each, and the regions [2, 8, 12] of 8 x 8 pixels."""
    generator = torch.Generator().manual_seed(0)
    colours = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0]])
    regions = torch.zeros(2, 8, 12, dtype=torch.long)
    regions[0, :, 6:], regions[0, 4:, :6], regions[0, 6:, 9:] = 1, 2, 3
    regions[1, 2:5, 1:4], regions[1, 3:, 8:], regions[1, 6:, :8] = 3, 2, 1
    pixels = regions.repeat_interleave(8, 1).repeat_interleave(8, 2)
    images = colours[pixels].permute(0, 3, 1, 2)
    return images + 0.05 * torch.randn(images.shape, generator=generator), regions


def test_regions_of_one_appearance_are_clustered() -> None:
    images, regions = painted()
    maker = mask_maker(PseudoMaskSettings(tower="colours", k=4))

    masks, present = maker(images)

    assert masks.shape == (2, 4, 8, 12)
    assert present.all()
    wanted = nn.functional.one_hot(regions, 4).permute(0, 3, 1, 2).float()
    overlap = torch.einsum("bkhw,bjhw->bkj", masks, wanted)
    assert ((overlap > 0).sum(2) == 1).all()  # every mask is one region
    assert ((overlap > 0).sum(1) == 1).all()  # and every region one mask


def test_masks_cover_every_cell_once() -> None:
    maps = torch.randn(2, 16, 6, 10, generator=torch.Generator().manual_seed(0))

    fine = divide(maps, PseudoMaskSettings())
    coarse = divide(maps, PseudoMaskSettings(repeat=4))

    assert (fine.masks.sum(1) == 1).all()
    assert coarse.masks.shape == (2, 8, 24, 40)
    assert torch.equal(coarse.masks[:, :, 1::4, 3::4], fine.masks)


def test_missing_weights_are_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))

    with pytest.raises(WeightsError, match="dino_vits8"):
        mask_maker(PseudoMaskSettings())
    with pytest.raises(WeightsError, match=r"absent\.pth"):
        mask_maker(PseudoMaskSettings(), tmp_path / "absent.pth")
