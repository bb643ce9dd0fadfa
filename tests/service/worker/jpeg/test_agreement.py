from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from lexiseg_service.worker.jpeg.agreement import SIZE, difference, differences, picture
from lexiseg_service.worker.jpeg.nvjpeg import SAMPLINGS, DeviceJpeg
from tests.service.worker.jpeg.stand_in import CPU, Planes, decoder


def test_the_picture_is_always_the_same() -> None:
    assert picture().shape == (*SIZE, 3)
    assert np.array_equal(picture(), picture())


def test_levels_are_those_between_two_pictures() -> None:
    one, other = np.zeros((10, 10, 3), np.uint8), np.full((10, 10, 3), 4, np.uint8)
    other[0, 0, 0] = 255

    assert difference(one, other) == difference(other, one)
    assert difference(one, other).mean == pytest.approx(4 + 251 / 300)
    assert difference(one, other).of_99 == 4


def test_repeated_chroma_is_a_small_difference() -> None:
    found = differences(decoder())

    assert list(found) == list(SAMPLINGS)
    assert all(each is not None and each.is_small for each in found.values())
    assert found["444"] == (0, 0)
    assert 0 < found["422"].mean < found["420"].mean < 1.1  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda planes: planes.flip(0),
        lambda planes: (planes.float() * 219 / 255 + 16).byte(),
        lambda planes: planes.roll(1, 2),
        lambda planes: planes.float().mean(0, keepdim=True).expand(3, -1, -1).byte(),
    ],
    ids=["another order of colours", "another range", "a pixel beside", "no colours"],
)
def test_what_is_wrong_is_a_large_one(wrong: Callable[[Tensor], Tensor]) -> None:
    planes = Planes()
    found = differences(DeviceJpeg(CPU, lambda content: wrong(planes(content))))

    assert not any(each is None or each.is_small for each in found.values())


def test_what_is_refused_is_told() -> None:
    def refuses(content: Tensor) -> Tensor:
        raise RuntimeError("no such decoder")

    assert differences(DeviceJpeg(torch.device("cpu"), refuses)) == dict.fromkeys(SAMPLINGS)
