"""A raster in windows: which parts to ask about, their pixels in 8 bits, and outlines in map coordinates.

Free of QGIS, so that its rules can be tried anywhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

SAMPLE = 512  # pixels a side, of which the values of black and white are taken
PERCENTILES = (2, 98)  # of a band's values, which become black and white where it has more than 8 bits
MIN_SIDE = 16  # pixels, of what servers take


class Window(NamedTuple):
    """Pixels of a raster: left, top, width, height."""

    left: int
    top: int
    width: int
    height: int


def windows_of(width: int, height: int, side: int) -> Iterator[Window]:
    """Windows of at most `side` pixels that cover a raster without overlap, of sides as equal as can be."""
    for top, bottom in _parts(height, side):
        for left, right in _parts(width, side):
            yield Window(left, top, right - left, bottom - top)


def _parts(length: int, most: int) -> Iterator[tuple[int, int]]:
    count = -(-length // most)
    edges = [round(place * length / count) for place in range(count + 1)]
    yield from pairwise(edges)


class Raster:
    """A dataset of GDAL in 8 bits; nodata, masks, alpha and NaN say which of its pixels there are.

    Colours are the first three bands, or the first, by its palette if it has one.
    """

    def __init__(self, dataset: Any) -> None:
        self._bands = [dataset.GetRasterBand(number) for number in ((1, 2, 3) if dataset.RasterCount >= 3 else (1,))]
        self._palette = _palette(self._bands[0]) if len(self._bands) == 1 else None
        whole = Window(0, 0, dataset.RasterXSize, dataset.RasterYSize)
        small = {"buf_xsize": min(SAMPLE, whole.width), "buf_ysize": min(SAMPLE, whole.height)}
        self._ranges = [range_of(*_read(band, whole, **small)) for band in self._bands]

    def read(self, window: Window) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Colours [H, W, 3] of a window, and which pixels there are [H, W]; the others are black."""
        bands, masks = zip(*(_read(band, window) for band in self._bands), strict=True)
        valid = np.any(masks, 0) & np.all([np.isfinite(band) for band in bands], 0)
        rgb = to_rgb(bands, self._ranges) if self._palette is None else self._palette[bands[0]]
        return rgb * valid[..., None], valid


def _read(band: Any, window: Window, **sizes: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Values [H, W] of a band of GDAL, and which of them are some."""
    return band.ReadAsArray(*window, **sizes), band.GetMaskBand().ReadAsArray(*window, **sizes) > 0


def _palette(band: Any) -> NDArray[np.uint8] | None:
    """Colours [256, 3] of a band's values of 8 bits, if it has a palette."""
    table = band.GetColorTable()
    if table is None or band.ReadAsArray(0, 0, 1, 1).dtype != np.uint8:
        return None
    colours = np.zeros((256, 3), np.uint8)
    for value in range(min(256, table.GetCount())):
        colours[value] = table.GetColorEntry(value)[:3]
    return colours


def to_rgb(bands: Sequence[NDArray[Any]], ranges: Sequence[tuple[float, float]]) -> NDArray[np.uint8]:
    """[H, W, 3] of one band or three [H, W], with the values of black and white of each."""
    channels = []
    for band, (low, high) in zip(bands, ranges, strict=True):
        scaled = (np.nan_to_num(band.astype(np.float32)) - low) / max(high - low, 1e-9)
        channels.append((scaled.clip(0, 1) * 255).round().astype(np.uint8))
    return np.stack(channels * (3 // len(channels)), -1)


def range_of(band: NDArray[Any], valid: NDArray[np.bool_]) -> tuple[float, float]:
    """The values of black and white of a band: those of 8 bits, or percentiles of its valid, finite values."""
    if band.dtype == np.uint8:
        return 0.0, 255.0
    values = band[valid & np.isfinite(band)]
    if values.size == 0:
        return 0.0, 1.0
    low, high = np.percentile(values, PERCENTILES)
    return float(low), float(high)


def to_map(corners: NDArray[Any], window: Window, transform: Sequence[float]) -> list[tuple[float, float]]:
    """Corners [n, 2] in a window's pixels as a closed ring of map coordinates, by GDAL's geotransform."""
    x, y = corners[:, 0] + window.left, corners[:, 1] + window.top
    east = transform[0] + x * transform[1] + y * transform[2]
    north = transform[3] + x * transform[4] + y * transform[5]
    ring = list(zip(east.tolist(), north.tolist(), strict=True))
    return [*ring, ring[0]]


def to_wkt(rings: Sequence[Sequence[tuple[float, float]]]) -> str:
    """A polygon with holes as well-known text; the first ring is the outer one."""
    texts = (", ".join(f"{x!r} {y!r}" for x, y in ring) for ring in rings)
    return f"POLYGON({', '.join(f'({text})' for text in texts)})"
