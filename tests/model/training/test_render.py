"""Crops made from views: the same pixels as OpenCV's warp, whatever device they are on."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from lexiseg_model.training.augment import BORDER
from lexiseg_model.training.packs import Pack, Photograph, write_pack
from lexiseg_model.training.render import Paste, View, render, resident, sampled, stack_views, warped
from lexiseg_model.training.views import Colours, Matrix, labels_in, whole_view, window_view

SIZE = 64
PLAIN = Colours(1.0, 1.0, np.ones(3))
SIZES = [(90, 120), (70, 60), (128, 128)]


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    random = np.random.default_rng(0)
    photographs = [
        Photograph(f"{height}", _smooth(random.integers(0, 256, (height, width, 3)).astype(np.uint8)), None)
        for height, width in SIZES
    ]
    return write_pack(tmp_path_factory.mktemp("packs") / "noise", "noise", (), iter(photographs))


def _smooth(noise: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return cv2.blur(noise, (5, 5)).astype(np.uint8)


def view_of(pack: Pack, index: int, matrix: Matrix, colours: Colours = PLAIN, which: int = 0) -> View:
    return View(which, pack.places[index, :3].tolist(), matrix, colours)


def rendered(pack: Pack, *views: View) -> torch.Tensor:
    return render(resident([pack, pack], torch.device("cpu")), stack_views(views), SIZE)


def whole(index: int, seed: int = 0) -> Matrix:
    return whole_view(*SIZES[index], SIZE, np.random.default_rng(seed))


@pytest.mark.parametrize("pixels_of", [warped, sampled], ids=["on a CPU", "elsewhere"])
@pytest.mark.parametrize("seed", range(8))
def test_a_crop_is_what_opencv_warps(pack: Pack, seed: int, pixels_of: Callable[..., torch.Tensor]) -> None:
    index = seed % 3
    window = window_view(np.zeros(SIZES[index], np.uint8), SIZE, np.random.default_rng(seed), (0.5, 1.3))
    matrix = window if seed % 2 else whole(index, seed)

    windows = stack_views([view_of(pack, index, matrix)]).windows
    (crop,) = pixels_of(resident([pack], torch.device("cpu")), windows, SIZE)

    expected = cv2.warpAffine(pack.image(index), matrix, (SIZE, SIZE), flags=cv2.INTER_LINEAR, borderValue=BORDER)
    # OpenCV rounds places to 1/32 of a pixel.
    off = np.abs(crop.numpy() - expected)
    assert off.max() < 8
    assert off.mean() < 0.6


def test_views_of_several_packs_keep_their_order(pack: Pack) -> None:
    views = [view_of(pack, index, whole(index), which=which) for index, which in ((0, 1), (1, 0), (2, 1))]

    together = rendered(pack, *views)

    for place, view in enumerate(views):
        torch.testing.assert_close(together[place], rendered(pack, view)[0])


def test_what_is_pasted_covers_what_was_there(pack: Pack) -> None:
    alpha = np.zeros((SIZE, SIZE), np.uint8)
    alpha[:, : SIZE // 2] = 255
    under, over = view_of(pack, 0, whole(0)), view_of(pack, 1, whole(1), which=1)
    paste = Paste(over.pack, over.place, over.matrix, alpha)

    plain, covered = rendered(pack, under, under._replace(pastes=[paste]))

    torch.testing.assert_close(covered[..., : SIZE // 2], rendered(pack, over)[0][..., : SIZE // 2])
    torch.testing.assert_close(covered[..., SIZE // 2 :], plain[..., SIZE // 2 :])


def test_without_saturation_a_crop_is_gray(pack: Pack) -> None:
    (crop,) = rendered(pack, view_of(pack, 0, whole(0), Colours(0.0, 1.0, np.ones(3))))

    torch.testing.assert_close(crop[0], crop[2], atol=1e-3, rtol=0)


def test_gain_brightens_and_contrast_spreads(pack: Pack) -> None:
    plain, brighter, harder = (
        rendered(pack, view_of(pack, 0, whole(0), Colours(1.0, contrast, np.full(3, gain))))
        for contrast, gain in ((1.0, 1.0), (1.0, 1.2), (1.3, 1.0))
    )

    assert brighter.mean() > 1.15 * plain.mean()
    assert harder.std() > 1.15 * plain.std()


def test_labels_lie_under_the_middle_of_their_cells() -> None:
    mask = (np.arange(100)[None] >= np.full((100, 1), 50)).astype(np.uint8)
    matrix = np.array([[0.64, 0, 0.0], [0, 0.64, 0.0]])

    labels = labels_in(mask, matrix, SIZE, 4)

    # Cell c has its middle at crop pixel 4c + 2, which is at (4c + 2) / 0.64 on the photograph.
    assert labels.shape == (16, 16)
    assert labels[7].tolist() == [int((4 * cell + 2) / 0.64 >= 49.5) for cell in range(16)]
