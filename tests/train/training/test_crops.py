"""Packs, random crops and shrunk photographs; retrieval of held-out pairs."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lexiseg_train.data.indexed import IGNORE
from lexiseg_train.data.pairs.files import open_pairs
from lexiseg_train.data.pairs.source import decode
from lexiseg_train.training.crops import (
    BORDER,
    Colours,
    Matrix,
    Pack,
    Paste,
    Photograph,
    View,
    random_crop,
    render,
    resident,
    sampled,
    stack_views,
    warped,
    whole_view,
    window_view,
    write_pack,
)
from lexiseg_train.training.pair_run import Shrunk, recall
from tests.train.training.pairs_folder import write_pairs

STRIDE = 4


def checkered(height: int, width: int, cell: int = 24) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A black and white image; class 1 is where it is white."""
    y, x = np.mgrid[:height, :width]
    mask = ((y // cell + x // cell) % 2).astype(np.uint8)
    return np.repeat(mask[..., None] * np.uint8(255), 3, axis=2), mask


@given(st.integers(1, 90), st.integers(1, 90), st.sampled_from([32, 64]), st.integers(0, 2**31))
@settings(max_examples=60, deadline=None)
def test_a_crop_has_the_requested_size(height: int, width: int, size: int, seed: int) -> None:
    image, mask = checkered(height, width)

    crop, labels = random_crop(image, mask, size, STRIDE, np.random.default_rng(seed))

    assert crop.shape == (size, size, 3)
    assert labels.shape == (size // STRIDE, size // STRIDE)
    assert crop.dtype == labels.dtype == np.uint8


def test_labels_stay_aligned_with_their_pixels() -> None:
    image, mask = checkered(120, 160)
    agreed = []
    for seed in range(20):
        crop, labels = random_crop(image, mask, 64, STRIDE, np.random.default_rng(seed))
        gray = crop[STRIDE // 2 :: STRIDE, STRIDE // 2 :: STRIDE].mean(2)
        counted = labels != IGNORE
        # Colours change in a crop, but what was white stays lighter than what was black.
        middle = (gray[counted].min() + gray[counted].max()) / 2
        agreed.append(((gray > middle) == (labels == 1))[counted].mean())

    assert np.mean(agreed) > 0.95


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


@pytest.mark.parametrize(("value", "warns"), [(255, True), (1, False)])
def test_masks_of_0_and_255_alone_are_warned_about(
    value: int, warns: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mask = np.zeros((32, 32), np.uint8)
    mask[8:24, 8:24] = value
    photographs = [Photograph("a", np.zeros((32, 32, 3), np.uint8), mask)]

    write_pack(tmp_path / "pack", "mine", ("background", "cat"), photographs)

    said = "warning: the masks of mine hold only 0 and perhaps 255"
    assert capsys.readouterr().out.startswith(said) == warns


@pytest.mark.parametrize("pixels_of", [warped, sampled], ids=["on a CPU", "elsewhere"])
@pytest.mark.parametrize("seed", range(8))
def test_a_rendered_crop_equals_opencv_warp_affine(
    pack: Pack, seed: int, pixels_of: Callable[..., torch.Tensor]
) -> None:
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


def test_a_pasted_object_covers_the_crop_below(pack: Pack) -> None:
    alpha = np.zeros((SIZE, SIZE), np.uint8)
    alpha[:, : SIZE // 2] = 255
    under, over = view_of(pack, 0, whole(0)), view_of(pack, 1, whole(1), which=1)
    paste = Paste(over.pack, over.place, over.matrix, alpha)

    plain, covered = rendered(pack, under, under._replace(pastes=[paste]))

    torch.testing.assert_close(covered[..., : SIZE // 2], rendered(pack, over)[0][..., : SIZE // 2])
    torch.testing.assert_close(covered[..., SIZE // 2 :], plain[..., SIZE // 2 :])


def test_a_photograph_is_shrunk_once(tmp_path: Path) -> None:
    shrunk = Shrunk(open_pairs(write_pairs(tmp_path / "captions", 2)), 32)

    first = shrunk.read(1)

    assert shrunk.read(1) is first
    assert min(decode(first).shape[:2]) == 32


def test_recall_counts_both_directions() -> None:
    likeness = torch.tensor([[0.9, 0.1, 0.2], [0.8, 0.3, 0.7], [0.1, 0.2, 0.6]])

    # Photograph 1 has its caption third; caption 2 has its photograph second, all others are first.
    expected = {"recall_at_1": 50 * (2 / 3 + 2 / 3), "recall_at_2": 50 * (2 / 3 + 1), "recall_at_3": 100}
    assert recall(likeness, (1, 2, 3)) == pytest.approx(expected)
