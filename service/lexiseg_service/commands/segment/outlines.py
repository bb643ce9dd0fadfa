"""The files of a large image, in its coordinates: a map of classes, and outlines as GeoPackage and GeoJSON.

Without a place on a map coordinates are pixels: x to the right, y down.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
import pyogrio.raw
import rasterio
import rasterio.features
import rasterio.windows
import shapely
import shapely.geometry
from numpy.typing import NDArray

from lexiseg_model.masks.overlay import colour
from lexiseg_model.tasks.blending import Box
from lexiseg_service.commands.segment.scene import Scene

LAYER = "segments"
FIELDS = np.array(["id", "label", "class_index", "score", "area_px"], object)
LEVELS = 65535  # of a probability on disk


class Region(NamedTuple):
    """`value` of its pixels, mean `score`, number of pixels, and outline in the image's coordinates."""

    value: int
    score: float
    area: int
    outline: shapely.MultiPolygon


class ClassMap:
    """A GeoTIFF of classes from 1, 0 for nobody, that is written block by block; of the size and place of the image.

    The probability of each pixel lies beside it until the map is closed.
    """

    def __init__(self, path: Path, scene: Scene, block: int, names: Sequence[str]) -> None:
        kind = "uint8" if len(names) < 255 else "uint16"
        self._written = _create(path, scene, block, kind)
        self._written.update_tags(**{f"CLASS_{number}": name for number, name in enumerate(names, 1)})
        if kind == "uint8":
            colours = {number: (*colour(number - 1), 255) for number in range(1, len(names) + 1)}
            self._written.write_colormap(1, colours)
        self._probability_path = path.with_name(f"{path.name}.probability")
        self._probability = _create(self._probability_path, scene, block, "uint16")
        self._boxes: list[Box] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._written.close()
        self._probability.close()
        self._probability_path.unlink(missing_ok=True)

    def write(self, box: Box, values: NDArray[np.integer], probability: NDArray[np.float32]) -> None:
        """One block: classes [h, w], and the probability of each."""
        place = rasterio.windows.Window(box.left, box.top, *box.size[::-1])
        self._written.write(values.astype(self._written.dtypes[0]), 1, window=place)
        self._probability.write((probability * LEVELS).round().astype(np.uint16), 1, window=place)
        self._boxes.append(box)

    def regions(self, min_area: int) -> Iterator[Region]:
        """Every region, connected by sides, of at least so many pixels; their outlines are in memory."""
        classes, probability = self._reopened()
        with classes, probability:
            band = rasterio.band(classes, 1)
            shapes = rasterio.features.shapes(band, mask=band, connectivity=4, transform=classes.transform)
            found = [(shapely.geometry.shape(outline), int(value)) for outline, value in shapes]
            outlines = [outline for outline, _ in found]
            tree = shapely.STRtree(outlines)
            votes = np.zeros(len(found) + 1)
            areas = np.zeros(len(found) + 1, np.int64)
            for box in self._boxes:
                place = rasterio.windows.Window(box.left, box.top, *box.size[::-1])
                numbers = tree.query(shapely.box(*rasterio.windows.bounds(place, classes.transform)))
                if not len(numbers):
                    continue
                # Outlines run along the borders of pixels: a pixel belongs to the region around its centre.
                ids = rasterio.features.rasterize(
                    [(outlines[number], number + 1) for number in numbers],
                    box.size,
                    transform=rasterio.windows.transform(place, classes.transform),
                    dtype="int32",
                ).ravel()
                weights = probability.read(1, window=place).ravel()
                votes += np.bincount(ids, weights, len(found) + 1)
                areas += np.bincount(ids, minlength=len(found) + 1)
        for number, (outline, value) in enumerate(found, 1):
            if areas[number] >= min_area:
                score = votes[number] / LEVELS / areas[number]
                yield Region(value, float(score), int(areas[number]), shapely.MultiPolygon([outline]))

    def _reopened(self) -> tuple[Any, Any]:
        """Both files for reading: what is written is on disk once they are closed."""
        names = self._written.name, self._probability.name
        self._written.close()
        self._probability.close()
        return rasterio.open(names[0]), rasterio.open(names[1])


def _create(path: Path, scene: Scene, block: int, kind: str) -> Any:
    height, width = scene.size
    return rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=height,
        width=width,
        count=1,
        dtype=kind,
        crs=scene.crs,
        transform=scene.transform,
        nodata=0,
        tiled=True,
        blockxsize=block,  # each is written once
        blockysize=block,
        compress="deflate",
        bigtiff="if_safer",
    )


def write_outlines(stem: Path, scene: Scene, regions: Sequence[Region], names: Sequence[str]) -> int:
    """Write STEM.gpkg and STEM.geojson, one feature a region, and return how many there are.

    Exteriors are counterclockwise, as RFC 7946 has it.
    """
    outlines = np.array([shapely.to_wkb(shapely.orient_polygons(region.outline)) for region in regions], object)
    columns = [
        np.arange(1, len(regions) + 1, dtype=np.int64),
        np.array([names[region.value - 1] for region in regions], object),
        np.array([region.value - 1 for region in regions], np.int32),
        np.array([round(region.score, 4) for region in regions], np.float64),
        np.array([region.area for region in regions], np.int64),
    ]
    # GeoJSON with `crs`, the form of 2008 that GIS read: RFC 7946 has no coordinates but WGS 84.
    for suffix, driver in (("gpkg", "GPKG"), ("geojson", "GeoJSON")):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "'crs' was not provided")  # an image without a place
            pyogrio.raw.write(
                stem.with_name(f"{stem.name}.{suffix}"),
                outlines,
                columns,
                FIELDS,
                layer=LAYER,
                driver=driver,
                geometry_type="MultiPolygon",
                crs=None if scene.crs is None else scene.crs.to_wkt(),
            )
    return len(regions)
