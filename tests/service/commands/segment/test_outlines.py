"""Join regions that block borders cut."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio.features
from numpy.typing import NDArray
from rasterio import Affine

from lexiseg_model.tasks.blending import Box
from lexiseg_service.commands.segment.scene import ClassMap, Region

SIZE, BLOCK = (150, 210), 48
pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


class Nowhere:
    """An image without a place on a map."""

    size, crs, transform = SIZE, None, Affine.identity()


def merged(labels: NDArray[np.uint8], folder: Path) -> list[Region]:
    """The regions of a whole map that comes in blocks."""
    scene: Any = Nowhere()
    with ClassMap(folder / "map.tif", scene, BLOCK, ["a", "b"]) as written:
        for top in range(0, SIZE[0], BLOCK):
            for left in range(0, SIZE[1], BLOCK):
                part = labels[top : top + BLOCK, left : left + BLOCK]
                box = Box(top, left, top + part.shape[0], left + part.shape[1])
                written.write(box, part, np.full(part.shape, 0.5, np.float32))
        return list(written.regions())


def drawn(region: Region) -> NDArray[np.bool_]:
    mask: NDArray[np.bool_] = rasterio.features.rasterize([region.outline], SIZE) > 0
    return mask


def test_a_ring_over_many_blocks_is_one_region_pixel_for_pixel(tmp_path: Path) -> None:
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    ring = np.abs(np.hypot(y - 75, x - 105) - 50) < 12

    (region,) = merged(ring.astype(np.uint8), tmp_path)

    assert np.array_equal(drawn(region), ring)
    assert region.area == ring.sum()
    assert [len(part.interiors) for part in region.outline.geoms] == [1]
    assert region.score == pytest.approx(0.5, abs=1e-4)
