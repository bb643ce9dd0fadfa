"""Photographs that are equal, copies of one another, or look alike."""

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from lexiseg_train.data.alike import HeldOut, alike_groups, miniature, pixel_digest, split_groups
from tests.train.data.own.made import noise


def belt(seed: int) -> NDArray[np.uint8]:
    """A photograph [480, 640, 3] of a fixed camera over a grey belt, with a small object at another place each."""
    random = np.random.default_rng(seed)
    scene = np.kron(np.random.default_rng(0).integers(88, 92, (6, 8, 3)), np.ones((80, 80, 1)))
    y, x = random.integers(20, 440), random.integers(20, 600)
    scene[y : y + 14, x : x + 14] = 60
    return np.clip(scene + random.normal(0, 1.5, scene.shape), 0, 255).astype(np.uint8)


def write(path: Path, photograph: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Write a photograph, and return it as it is read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(photograph).save(path)
    return np.asarray(Image.open(path))


def stored_again(photograph: NDArray[np.uint8], quality: int, scale: float) -> NDArray[np.uint8]:
    height, width = photograph.shape[:2]
    small = cv2.resize(photograph, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA)
    buffer = io.BytesIO()
    Image.fromarray(small).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


def test_equal_pixels_of_another_shape_are_another_photograph() -> None:
    pixels = noise(0)

    assert pixel_digest(pixels) == pixel_digest(pixels.copy())
    assert pixel_digest(pixels) != pixel_digest(pixels.reshape(32, 24, 3))


def test_photographs_that_are_alike_by_way_of_another_are_one_group() -> None:
    burst = [np.full((24, 32, 3), level, np.uint8) for level in (100, 103, 106, 200)]

    groups = alike_groups([miniature(each) for each in burst])

    assert groups[0] == groups[1] == groups[2] != groups[3]


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        ([0, 0, 2, 2, 4], [0, 0, 2, 2, 4]),
        ([0, 0, 2, 2], [0, 0, 2, 2]),  # two cameras
        ([0, 0, 0, 3], [4, 5, 6, 3]),  # one camera, and another photograph
        ([0], [0]),
    ],
)
def test_a_group_of_most_photographs_is_resolved_for_a_split(groups: list[int], expected: list[int]) -> None:
    assert split_groups(np.array(groups)).tolist() == expected


@pytest.mark.parametrize(("quality", "scale"), [(50, 1.0), (90, 0.6), (75, 0.5)])
def test_a_copy_of_another_sets_validation_photograph_is_withheld(quality: int, scale: float, tmp_path: Path) -> None:
    photograph = write(tmp_path / "other/val/images/a.png", noise(1, 240, 320))
    (tmp_path / "other/val/images/._a.png").write_bytes(b"of macOS")

    held_out = HeldOut(tmp_path, "mine")

    assert held_out.withholds(stored_again(photograph, quality, scale))
    assert not held_out.withholds(noise(2, 240, 320))
    assert held_out.n_withheld == 1


def test_of_a_sets_own_validation_photographs_only_equal_ones_are_withheld(tmp_path: Path) -> None:
    for seed in range(3):
        write(tmp_path / f"mine/val/images/{seed}.png", belt(seed))

    held_out = HeldOut(tmp_path, "mine")

    assert [held_out.withholds(belt(seed)) for seed in range(6)] == [True] * 3 + [False] * 3
