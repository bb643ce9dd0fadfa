"""The browser's graphs find the motion that OpenCV finds."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.video.motion import MotionEstimator, flow_settings
from lexiseg_model.video.motion_graphs import Compare, Search, Smooth

SIZE = (160, 240)


def window(photograph: NDArray[np.uint8], x: int, y: int) -> NDArray[np.uint8]:
    """What a camera shows that points there, with noise."""
    noise = np.random.default_rng(x + y).normal(0, 3, (*SIZE, 3))
    return np.asarray((photograph[y : y + SIZE[0], x : x + SIZE[1]] + noise).clip(0, 255), np.uint8)


def gray(picture: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)).float()


def resized(shifts: Tensor, size: tuple[int, int]) -> Tensor:
    factors = torch.tensor([size[1] / shifts.shape[1], size[0] / shifts.shape[0]])
    return F.interpolate(shifts.permute(2, 0, 1)[None], size, mode="bilinear")[0].permute(1, 2, 0) * factors


def searched(now: Tensor, before: Tensor) -> Tensor:
    """Shifts [h, w, 2], scale by scale as the browser does it."""
    settings = flow_settings()
    search, shifts = Search(settings["patch"], settings["stride"]), torch.zeros(*now.shape, 2)
    for scale in range(int(math.log2(max(SIZE) / (4 * settings["patch"])) + 0.5), settings["finest"] - 1, -1):
        size = now.shape[0] >> scale, now.shape[1] >> scale
        pictures = (F.interpolate(each[None, None], size, mode="area")[0, 0] for each in (now, before))
        (shifts,) = search(*pictures, resized(shifts, size))
    return resized(shifts, (now.shape[0], now.shape[1]))


SHIFTS = pytest.mark.parametrize("shift", [(0, 0), (3, 1), (10, 4), (20, 0)])


@SHIFTS
def test_a_moved_camera_is_found(photographs: dict[str, NDArray[np.uint8]], shift: tuple[int, int]) -> None:
    before, now = (window(photographs["coffee"], 40 + x, 40 + y) for x, y in ((0, 0), shift))

    shifts = searched(gray(now), gray(before))

    inner = (shifts - torch.tensor(shift))[24:-24, 24:-24]  # seen in both
    assert inner.norm(dim=2).median() < 1  # pixels


@SHIFTS
def test_shifts_are_trusted_as_with_opencv(photographs: dict[str, NDArray[np.uint8]], shift: tuple[int, int]) -> None:
    before, now = (window(photographs["coffee"], 40 + x, 40 + y) for x, y in ((0, 0), shift))
    expected = MotionEstimator().compare(before, now)
    shifts = torch.from_numpy(expected.source - np.stack(np.meshgrid(range(SIZE[1]), range(SIZE[0])), -1)).float()

    x, y, trust, cut = Compare()(gray(now), gray(before), *map(torch.from_numpy, (now, before)), shifts)

    np.testing.assert_allclose(torch.stack([x, y], -1).numpy(), expected.source, atol=1e-3)
    assert np.abs(trust.numpy() - expected.trust).mean() < 0.01
    assert bool(cut) == expected.cut


def test_another_scene_is_a_cut(photographs: dict[str, NDArray[np.uint8]]) -> None:
    before, now = (window(photographs[name], 0, 0) for name in ("coffee", "rocket"))
    none: Any = torch.zeros(*SIZE, 2)

    *_, cut = Compare()(gray(now), gray(before), *map(torch.from_numpy, (now, before)), none)

    assert bool(cut) == MotionEstimator().compare(before, now).cut
    assert bool(cut)


def test_scores_are_averaged_where_they_were() -> None:
    past = torch.arange(12.0).view(1, 3, 4)
    x, y = torch.full((3, 4), 1.5), torch.full((3, 4), 2.0)

    (average,) = Smooth()(torch.zeros(1, 3, 4), past, x, y, torch.full((3, 4), 0.5))

    assert torch.allclose(average, torch.full((1, 3, 4), 0.5 * 9.5))
