"""What the QGIS plug-in computes without QGIS: windows, pixels, and outlines in map coordinates."""

import importlib.util
from types import ModuleType

import numpy as np
import pytest
import shapely

from tests.integration.server import ROOT


def loaded() -> ModuleType:
    spec = importlib.util.spec_from_file_location("windows", ROOT / "clients/qgis/lexiseg_qgis/windows.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


windows = loaded()
EVERYWHERE = np.ones((100, 100), bool)


@pytest.mark.parametrize(("width", "height", "side"), [(1000, 700, 256), (256, 256, 256), (300, 40, 256), (17, 16, 64)])
def test_windows_cover_every_pixel_once(width: int, height: int, side: int) -> None:
    seen = np.zeros((height, width), int)
    for window in windows.windows_of(width, height, side):
        seen[window.top : window.top + window.height, window.left : window.left + window.width] += 1
        assert max(window.width, window.height) <= side

    assert (seen == 1).all()


def test_values_of_sixteen_bits_are_stretched_and_one_band_is_gray() -> None:
    band = np.linspace(0, 3000, 10_000).reshape(100, 100).astype(np.uint16)

    pixels = windows.to_rgb([band], [windows.range_of(band, EVERYWHERE)])

    assert pixels.shape == (100, 100, 3)
    assert (pixels[..., 0] == pixels[..., 2]).all()
    assert (pixels.min(), pixels.max()) == (0, 255)
    assert windows.range_of(np.zeros((100, 100), np.uint8), EVERYWHERE) == (0, 255)


def test_a_band_without_a_finite_value_is_black() -> None:
    band = np.full((100, 100), np.nan)

    assert not windows.to_rgb([band], [windows.range_of(band, EVERYWHERE)]).any()


def test_outlines_with_holes_keep_their_place_on_the_map() -> None:
    transform = (500_000.0, 0.5, 0.0, 4_000_000.0, 0.0, -0.5)  # half a metre a pixel, north up
    outer, hole = np.array([[0, 0], [10, 0], [10, 10], [0, 10]]), np.array([[2, 2], [2, 4], [4, 4], [4, 2]])

    rings = [windows.to_map(ring, windows.Window(100, 200, 64, 64), transform) for ring in (outer, hole)]
    polygon = shapely.from_wkt(windows.to_wkt(rings))

    assert polygon.is_valid
    assert polygon.area == (100 - 4) / 4
    assert polygon.bounds == (500_050.0, 3_999_895.0, 500_055.0, 3_999_900.0)
