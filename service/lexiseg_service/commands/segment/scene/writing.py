"""The files of a large picture, in its coordinates: a map of classes, and outlines as GeoPackage and GeoJSON.

Without a place on a map coordinates are pixels: x to the right, y down.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio.raw
import rasterio
import shapely

from lexiseg_model.masks.overlay import colour
from lexiseg_service.commands.segment.scene.reading import Scene
from lexiseg_service.commands.segment.scene.regions import Region

LAYER = "segments"
FIELDS = np.array(["id", "label", "class_index", "score", "area_px"], object)
FEATURES_AT_ONCE = 500  # outlines in memory


def open_class_map(path: Path, scene: Scene, block: int, names: Sequence[str]) -> Any:
    """A GeoTIFF of classes from 1, 0 for nobody, in tiles of one block each; as large as the picture, in its place."""
    kind = "uint8" if len(names) < 255 else "uint16"
    height, width = scene.size
    written = rasterio.open(
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
    written.update_tags(**{f"CLASS_{number}": name for number, name in enumerate(names, 1)})
    if kind == "uint8":
        written.write_colormap(1, {number: (*colour(number - 1), 255) for number in range(1, len(names) + 1)})
    return written


def write_outlines(stem: Path, scene: Scene, regions: Iterable[Region], names: Sequence[str]) -> int:
    """Writes STEM.gpkg and STEM.geojson, one feature a region, and returns how many there are."""
    package, count = stem.with_name(f"{stem.name}.gpkg"), 0
    rest = iter(regions)
    while some := list(itertools.islice(rest, FEATURES_AT_ONCE)):
        _append(package, scene, some, names, count)
        count += len(some)
    if not count:
        _append(package, scene, [], names, 0)
    # Not today's RFC 7946, which knows no other coordinates than WGS 84: GIS read the form of 2008, with `crs`.
    with (
        pyogrio.raw.open_arrow(package, use_pyarrow=False, batch_size=FEATURES_AT_ONCE) as (meta, features),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", "'crs' was not provided")
        pyogrio.raw.write_arrow(
            features,
            stem.with_name(f"{stem.name}.geojson"),
            layer=LAYER,
            driver="GeoJSON",
            geometry_name=meta["geometry_name"],
            geometry_type="MultiPolygon",
            crs=meta["crs"],
        )
    return count


def _append(package: Path, scene: Scene, regions: Sequence[Region], names: Sequence[str], before: int) -> None:
    columns = [
        np.arange(before + 1, before + len(regions) + 1, dtype=np.int64),
        np.array([names[region.value - 1] for region in regions], object),
        np.array([region.value - 1 for region in regions], np.int32),
        np.array([round(region.score, 4) for region in regions], np.float64),
        np.array([region.area for region in regions], np.int64),
    ]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "'crs' was not provided")  # a picture may lie nowhere
        pyogrio.raw.write(
            package,
            np.array([shapely.to_wkb(_placed(region.outline, scene)) for region in regions], object),
            columns,
            FIELDS,
            layer=LAYER,
            driver="GPKG",
            geometry_type="MultiPolygon",
            crs=None if scene.crs is None else scene.crs.to_wkt(),
            append=package.exists(),
        )


def _placed(outline: shapely.MultiPolygon, scene: Scene) -> shapely.MultiPolygon:
    """From pixels to the picture's coordinates, exteriors counterclockwise as RFC 7946 has it."""
    if scene.is_placed:
        a, b, c, d, e, f = tuple(scene.transform)[:6]
        turn, corner = np.array([[a, d], [b, e]]), np.array([c, f])
        outline = shapely.transform(outline, lambda xy: xy @ turn + corner)
    return shapely.orient_polygons(outline)
