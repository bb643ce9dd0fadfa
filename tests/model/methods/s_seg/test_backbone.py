"""Backbones by timm: the four levels, image sizes, sources of weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from lexiseg_model.errors import WeightsError
from lexiseg_model.methods.s_seg.backbone import Pyramid


@pytest.mark.parametrize("name", ["test_resnet", "test_convnext", "test_efficientnet"])
@torch.no_grad()
def test_the_levels_have_strides_4_to_32(name: str) -> None:
    pyramid = Pyramid(name).eval()

    levels = pyramid(torch.randn(2, 3, 64, 96))

    assert [tuple(level.shape) for level in levels] == [
        (2, channels, 64 // stride, 96 // stride)
        for channels, stride in zip(pyramid.channels, (4, 8, 16, 32), strict=True)
    ]


@pytest.mark.parametrize("name", ["swin_tiny_patch4_window7_224", "swinv2_tiny_window8_256"])
@torch.no_grad()
def test_swin_takes_wide_images_and_gives_normalised_channel_first_maps(name: str) -> None:
    pyramid = Pyramid(name, 0.1).eval()

    levels = pyramid(torch.randn(1, 3, 64, 96))

    assert [tuple(level.shape) for level in levels] == [
        (1, 96, 16, 24),
        (1, 192, 8, 12),
        (1, 384, 4, 6),
        (1, 768, 2, 3),
    ]
    for level in levels:
        torch.testing.assert_close(level.mean(1), torch.zeros_like(level[:, 0]), atol=1e-5, rtol=0)
        torch.testing.assert_close(level.var(1, correction=0), torch.ones_like(level[:, 0]), atol=1e-2, rtol=0)


def test_weights_come_from_a_file(tmp_path: Path) -> None:
    donor = Pyramid("test_resnet").body.state_dict()
    save_file(donor, tmp_path / "donor.safetensors")

    pyramid = Pyramid("test_resnet", weights=tmp_path / "donor.safetensors")

    assert donor
    for name, weight in pyramid.body.state_dict().items():
        assert torch.equal(weight, donor[name])
    with pytest.raises(WeightsError, match="no stem"):
        Pyramid("test_convnext", weights=tmp_path / "donor.safetensors")
    with pytest.raises(WeightsError, match="absent"):
        Pyramid("test_resnet", weights=tmp_path / "absent.safetensors")
