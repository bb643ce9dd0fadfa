"""Pseudo-masks of S-Seg."""

from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from torch import Tensor, nn

from lexiseg_model.errors import WeightsError
from lexiseg_train.methods.s_seg.trainer import divide, mask_maker
from lexiseg_train.methods.s_seg.trainings import PseudoMaskSettings


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
