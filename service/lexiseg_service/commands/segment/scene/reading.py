"""A large picture, opened: pixels come window by window, and only the blocks that a window touches are read."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window

from lexiseg_model.errors import DatasetError
from lexiseg_service.commands.segment.scene.bands import Bands, bands_of
from lexiseg_service.commands.segment.scene.grid import Box

MIB = 2**20
CACHE = 64 * MIB  # of decoded blocks, where the file has tiles
MOST_CACHE = 2048 * MIB  # where it has rows only


class Scene:
    """What is asked of an open picture; coordinates are its pixels, x to the right and y down."""

    def __init__(self, dataset: Any, bands: Bands) -> None:
        self._dataset = dataset
        self._bands = bands
        self.size: tuple[int, int] = dataset.shape
        self.crs = dataset.crs  # None of a picture that lies nowhere
        self.transform = dataset.transform  # pixels to the picture's coordinates

    @property
    def is_placed(self) -> bool:
        """Whether pixels have coordinates on a map."""
        return self.crs is not None or not self.transform.is_identity

    def read(self, box: Box) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Colours [h, w, 3] of a box, and which pixels there are [h, w]: not nodata, not transparent.

        Raises:
            DatasetError: the file is damaged there.
        """
        height, width = box.size
        window = Window(box.left, box.top, width, height)
        try:
            there = self._dataset.dataset_mask(window=window) > 0
            if not there.any():
                return np.zeros((height, width, 3), np.uint8), there
            return self._bands.to_rgb(self._dataset.read(list(self._bands.numbers), window=window)), there
        except RasterioError as error:
            raise DatasetError(
                f"{self._dataset.name}: rows {box.top} to {box.bottom} cannot be read: {error}"
            ) from None


@dataclass(frozen=True)
class Reading:
    """How a picture is to be read; None is by the rule of `bands`."""

    bands: tuple[int, ...] | None = None
    stretch: tuple[float, float] | None = None


@contextmanager
def open_scene(path: str, reading: Reading, window: int) -> Iterator[Scene]:
    """Opens a picture of any format that GDAL reads.

    Args:
        path: a file, or what GDAL takes for one, as /vsicurl/https://..., /vsis3/bucket/key.
        reading: which bands, and how.
        window: side of the windows that will be read: decides how much is kept of files without tiles.

    Raises:
        DatasetError: no picture can be read there, or it says that it is to be turned.
        OptionError: there are no such bands.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        try:
            dataset = rasterio.open(path)
        except RasterioError as error:
            raise DatasetError(f"{path}: {error}") from None
        with dataset:
            turned = dataset.tags().get("EXIF_Orientation", "1")
            if turned != "1":
                raise DatasetError(f"{path}: its EXIF orientation is {turned}; turn it first")
            with rasterio.Env(GDAL_CACHEMAX=_cache_of(dataset, window), GDAL_NUM_THREADS=1):
                yield Scene(dataset, bands_of(dataset, reading.bands, reading.stretch))


def _cache_of(dataset: Any, window: int) -> int:
    """Bytes. A file of whole rows is read again for each window, unless a row of windows is kept."""
    height, width = dataset.block_shapes[0]
    if width < dataset.width:
        return CACHE
    rows = 2 * window + height
    pixel = sum(np.dtype(kind).itemsize for kind in dataset.dtypes)
    return int(min(max(CACHE, rows * dataset.width * pixel * 5 // 4), MOST_CACHE))
