"""Large pictures that are small enough for tests."""

from pathlib import Path
from typing import Any

import rasterio
from numpy.typing import NDArray
from rasterio.transform import from_origin

PLACE = from_origin(500_000, 5_000_000, 0.5, 0.5)


def write(path: Path, bands: NDArray[Any], **profile: Any) -> Path:
    """A GeoTIFF of bands [B, H, W], half a metre a pixel."""
    count, height, width = bands.shape
    rules: dict[str, Any] = {
        "crs": "EPSG:32633", "transform": PLACE, "tiled": True, "blockxsize": 64, "blockysize": 64,
        "dtype": bands.dtype,
    } | profile  # fmt: skip
    with rasterio.open(path, "w", driver="GTiff", height=height, width=width, count=count, **rules) as to:
        to.write(bands)
    return path
