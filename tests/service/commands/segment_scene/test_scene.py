from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from PIL import Image
from rasterio.enums import ColorInterp

from lexiseg_service.commands.segment_scene.scene import Box, Reading, open_scene
from tests import pictures
from tests.service.commands.segment_scene import scenes

ALL = Box(0, 0, 96, 128)


def numbers(count: int, kind: type, most: int) -> NDArray[Any]:
    return np.random.default_rng(0).integers(0, most, (count, *ALL.size)).astype(kind)


def read(path: Path, reading: Reading | None = None) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    with open_scene(str(path), reading or Reading(64)) as scene:
        return scene.read(ALL)


def test_sixteen_bits_are_stretched_between_two_percentiles_of_each_band(tmp_path: Path) -> None:
    bands = numbers(3, np.uint16, 1000) * np.array([1, 10, 60], np.uint16)[:, None, None]

    rgb, _ = read(scenes.write(tmp_path / "a.tif", bands))

    low, high = np.percentile(bands.reshape(3, -1), (2, 98), axis=1)[..., None, None]
    expected = np.clip((bands - low) / (high - low), 0, 1) * 255
    assert np.abs(rgb.transpose(2, 0, 1) - expected).max() <= 2  # a sample, and roundings


def test_colours_are_found_by_their_names_among_more_bands(tmp_path: Path) -> None:
    bands = numbers(5, np.uint8, 256)
    path = scenes.write(tmp_path / "a.tif", bands)

    with rasterio.open(path, "r+") as to:
        names = ("blue", "green", "red", "undefined", "undefined")
        to.colorinterp = [getattr(ColorInterp, name) for name in names]

    assert np.array_equal(read(path)[0], bands[[2, 1, 0]].transpose(1, 2, 0))
    assert np.array_equal(read(path, Reading(64, (5, 4, 3)))[0], bands[[4, 3, 2]].transpose(1, 2, 0))


def test_alpha_and_nodata_say_which_pixels_there_are(tmp_path: Path) -> None:
    bands = numbers(4, np.uint8, 256)
    bands[3] = 255
    bands[3, :10] = 0
    clear = scenes.write(tmp_path / "alpha.tif", bands, photometric="rgb", alpha="yes")
    without = numbers(1, np.int16, 100)
    without[0, 5, 5] = -1
    holes = scenes.write(tmp_path / "nodata.tif", without, nodata=-1)

    assert np.array_equal(read(clear)[1], bands[3] > 0)
    assert np.array_equal(read(holes)[1], without[0] >= 0)


@pytest.mark.parametrize(("times", "detail"), [(1, 1), (2, 2), (4, 4), (16, 16)])
def test_an_enlarged_photograph_has_no_detail_as_small_as_its_pixels(tmp_path: Path, times: int, detail: int) -> None:
    photograph = pictures.small("china", 320)
    photograph.resize((times * photograph.width, times * photograph.height), Image.Resampling.BICUBIC).save(
        tmp_path / "a.jpg", quality=90
    )

    with open_scene(str(tmp_path / "a.jpg"), Reading(512)) as scene:
        assert scene.pixels_of_detail() == detail
