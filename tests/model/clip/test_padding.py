"""Zeros around an image up to whole patches, and off again."""

from __future__ import annotations

import pytest
import torch

from lexiseg_model.clip.images import Padding


@pytest.mark.parametrize(
    ("size", "padding"),
    [((112, 144), (0, 0, 0, 0)), ((100, 130), (6, 7, 6, 7)), ((111, 145), (0, 7, 1, 8)), ((1, 17), (7, 7, 8, 8))],
)
def test_padding_is_symmetric_and_comes_off_again(size: tuple[int, int], padding: tuple[int, ...]) -> None:
    images = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    around = Padding.to_multiple(size, 16)

    assert around == padding
    assert torch.equal(around.crop(around.add(images)), images)
    assert [side % 16 for side in around.add(images).shape[2:]] == [0, 0]
