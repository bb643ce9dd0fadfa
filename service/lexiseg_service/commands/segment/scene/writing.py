"""What is left of a large picture: STEM.geojson, STEM.gpkg and STEM.tif, in the coordinates of the picture.

Each is written piece by piece under another name, and has its own when it is whole. Without a place on a map
coordinates are pixels: x to the right, y down.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyogrio.raw
import rasterio
import shapely
from numpy.typing import NDArray
from rasterio.windows import Window

from lexiseg_model.masks.overlay import colour
from lexiseg_model.types import ClassEntry
from lexiseg_service.commands.segment.scene.grid import Grid
from lexiseg_service.commands.segment.scene.keeping import Object
from lexiseg_service.commands.segment.scene.reading import Scene

LAYER = "segments"
FIELDS = np.array(["id", "label", "class_index", "score", "area_px"], object)
AT_ONCE = 2_000  # objects of one write to a GeoPackage


class ClassMap:
    """STEM.tif: classes from 1, 0 for nobody; as large as the picture and in its place."""

    def __init__(self, path: Path, scene: Scene, grid: Grid, classes: Sequence[ClassEntry]) -> None:
        self._path, self._fresh = path, path.with_name(f".{path.name}.new.tif")
        self._kind = np.uint8 if len(classes) < 255 else np.uint16
        height, width = scene.size
        self._map = rasterio.open(
            self._fresh,
            "w",
            driver="GTiff",
            height=height,
            width=width,
            count=1,
            dtype=self._kind,
            crs=scene.crs,
            transform=scene.transform,
            nodata=0,
            tiled=True,
            blockxsize=grid.stride,  # each is written once: a core is one
            blockysize=grid.stride,
            compress="deflate",
            bigtiff="if_safer",
        )
        self._map.update_tags(**{f"CLASS_{number}": entry.name for number, entry in enumerate(classes, 1)})
        if self._kind is np.uint8:
            self._map.write_colormap(1, {number: (*colour(number - 1), 255) for number in range(1, len(classes) + 1)})

    def write(self, top: int, left: int, classes: NDArray[np.uint16]) -> None:
        """A core [h, w]."""
        height, width = classes.shape
        self._map.write(classes.astype(self._kind), 1, window=Window(left, top, width, height))

    def close(self, *, whole: bool) -> None:
        """Keeps what is whole, deletes what is not."""
        self._map.close()
        if whole:
            os.replace(self._fresh, self._path)
        else:
            self._fresh.unlink()


class Outlines:
    """STEM.geojson and STEM.gpkg: one feature for each object."""

    def __init__(self, folder: Path, stem: str, scene: Scene, classes: Sequence[ClassEntry]) -> None:
        self._paths = [folder / f"{stem}.geojson", folder / f"{stem}.gpkg"]
        self._fresh = [path.with_name(f".{path.stem}.new{path.suffix}") for path in self._paths]
        for path in self._fresh:
            path.unlink(missing_ok=True)
        self._scene = scene
        self._names = [entry.name for entry in classes]
        self._waiting: list[tuple[Object, shapely.MultiPolygon]] = []
        self._count = 0
        self._text = self._fresh[0].open("w", encoding="utf-8")
        head: dict[str, Any] = {"type": "FeatureCollection", "name": LAYER}
        if scene.crs is not None and scene.crs.to_authority() is not None:
            # As in the form of 2008, which GIS read: today's RFC 7946 knows no other coordinates than WGS 84.
            authority, code = scene.crs.to_authority()
            head["crs"] = {"type": "name", "properties": {"name": f"urn:ogc:def:crs:{authority}::{code}"}}
        self._text.write(json.dumps(head)[:-1] + ', "features": [')

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        whole = False
        try:
            if kind is None:
                self._flush()
                self._text.write("\n]}\n")
                whole = True
        finally:
            self._text.close()
            for fresh, path in zip(self._fresh, self._paths, strict=True):
                if whole:
                    os.replace(fresh, path)
                else:
                    fresh.unlink(missing_ok=True)

    @property
    def count(self) -> int:
        """Objects so far."""
        return self._count

    def add(self, found: Object) -> None:
        """One object."""
        outline = _placed(found.outline, self._scene)
        self._count += 1
        feature = {
            "type": "Feature",
            "id": self._count,
            "properties": {
                "id": self._count,
                "label": self._names[found.class_index],
                "class_index": found.class_index,
                "score": round(found.score, 4),
                "area_px": found.area,
            },
        }
        text = json.dumps(feature, ensure_ascii=False)[:-1]
        self._text.write((",\n" if self._count > 1 else "\n") + text + f', "geometry": {shapely.to_geojson(outline)}}}')
        self._waiting.append((found, outline))
        if len(self._waiting) == AT_ONCE:
            self._flush()

    def _flush(self) -> None:
        first = self._count - len(self._waiting) + 1
        objects = [found for found, _ in self._waiting]
        columns = [
            np.arange(first, self._count + 1, dtype=np.int64),
            np.array([self._names[found.class_index] for found in objects], object),
            np.array([found.class_index for found in objects], np.int32),
            np.array([round(found.score, 4) for found in objects], np.float64),
            np.array([found.area for found in objects], np.int64),
        ]
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "'crs' was not provided")  # a picture may lie nowhere
            pyogrio.raw.write(
                self._fresh[1],
                np.array([shapely.to_wkb(outline) for _, outline in self._waiting], object),
                columns,
                FIELDS,
                layer=LAYER,
                driver="GPKG",
                geometry_type="MultiPolygon",
                crs=None if self._scene.crs is None else self._scene.crs.to_wkt(),
                append=self._fresh[1].exists(),
            )
        self._waiting.clear()


def _placed(outline: shapely.MultiPolygon, scene: Scene) -> shapely.MultiPolygon:
    """From pixels to the picture's coordinates, exteriors counterclockwise as RFC 7946 has it."""
    if scene.is_placed:
        a, b, c, d, e, f = tuple(scene.transform)[:6]
        turn, corner = np.array([[a, d], [b, e]]), np.array([c, f])
        outline = shapely.transform(outline, lambda xy: xy @ turn + corner)
    return shapely.orient_polygons(outline)
