"""A large image, read part by part as 8-bit RGB, and the files about it in its coordinates.

Colours are the bands of `--bands`; else the bands that the file calls red, green and blue; else the first three; of
fewer than three the first, as gray. A palette is applied. 8 bits stay as they are. Everything else is stretched, band
by band, so that the 2nd percentile becomes 0 and the 98th 255, over pixels from 64 places all over the image; `--range`
gives both for all bands instead. Nodata, masks and alpha decide which pixels there are; what is not a number is none.

Written are a map of classes (GeoTIFF), and outlines as GeoPackage and GeoJSON. Without a place on a map coordinates are
pixels: x to the right, y down.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any, NamedTuple

import cv2
import numpy as np
import pyogrio.raw
import rasterio
import rasterio.features
import rasterio.transform
import rasterio.warp
import rasterio.windows
import shapely
import shapely.geometry
from numpy.typing import NDArray
from rasterio import Affine
from rasterio.enums import Resampling
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window

from lexiseg_labels.pictures import colour
from lexiseg_model.errors import DatasetError, OptionError

PERCENTILES = 2.0, 98.0
PLACES, SIDE = 8, 128  # of the sample: squares along each side of the image, and their pixels
DETAILS = range(2, 9)  # how far pictures may have been enlarged; further is found in the shrunk picture
BLURRED = 0.42  # share of what is lost by shrinking twice as far; a sharp photograph loses more than half of it
MAX_NAMED = 8  # rasters in a file
MIN_CONTROL_POINTS = 3  # fewer say no grid
MAX_ASIDE = 0.5  # pixels that control points of a grid may lie off it
MIB = 2**20
CACHE = 64 * MIB  # of decoded blocks, where the file has tiles
MAX_CACHE = 2048 * MIB  # where it has rows only
LAYER = "segments"
HEAD = 1024  # characters of a GeoJSON, before its first feature
FIELDS = np.array(["id", "label", "class_index", "score", "area_px"], object)
LEVELS = 65535  # of a probability on disk
OF_GDAL = re.compile(r"/vsi|\w+:")  # names that GDAL takes for files, as NETCDF:"a.nc":red


class Box(NamedTuple):
    """Pixels [top, bottom) x [left, right)."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.bottom - self.top, self.right - self.left


@dataclass(frozen=True)
class Reading:
    """How a picture is read; what is None is by the rule above."""

    window: int  # pixels of a window's side
    bands: tuple[int, ...] | None = None  # of the colours, from 1
    stretch: tuple[float, float] | None = None  # values of black and white


class Scene:
    """An open rasterio dataset; coordinates are its pixels, x to the right and y down."""

    def __init__(self, dataset: Any, reading: Reading) -> None:
        self._dataset = dataset
        self.reading = reading
        self.size: tuple[int, int] = dataset.shape
        # Without a CRS the picture has no coordinates; the transform is from pixels to them.
        self.crs, self.transform = _place(dataset)
        if reading.bands is not None and not set(reading.bands) <= set(dataset.indexes):
            raise OptionError(f"bands {', '.join(map(str, reading.bands))}; the picture has {dataset.count}")
        self._bands = list(reading.bands or _colours(dataset))
        kinds = {_kind(dataset.dtypes[number - 1]) for number in self._bands}
        if any(kind.kind == "c" for kind in kinds):
            raise OptionError("the picture's numbers are complex; expected whole or real ones")
        self._palette = _palette(dataset) if self._bands == [1] and reading.bands is None else None
        self._range: tuple[Any, Any] | None = reading.stretch
        if self._range is None and self._palette is None and kinds != {np.dtype(np.uint8)}:
            self._range = self._percentiles()

    def read(self, box: Box, shrink: float = 1) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Colours [h, w, 3] of a box, and which pixels there are [h, w]; `shrink` pixels down and across are one."""
        height, width = (max(1, round(side / shrink)) for side in box.size)
        window = _window(box)
        how = Resampling.nearest if self._palette is not None else Resampling.average
        try:
            valid = self._dataset.dataset_mask(window=window, out_shape=(height, width)) > 0
            if not valid.any():
                return np.zeros((height, width, 3), np.uint8), valid
            shape = (len(self._bands), height, width)
            pixels = self._dataset.read(self._bands, window=window, out_shape=shape, resampling=how)
            return self._to_rgb(pixels), valid & np.isfinite(pixels).all(0)
        except RasterioError as error:
            place = f"rows {box.top} to {box.bottom}"
            raise DatasetError(f"{self._dataset.name}: {place} cannot be read: {error}") from None

    def pixels_of_detail(self) -> int:
        """Pixels of the smallest detail: 1 in a sharp picture; more in one that was enlarged so many times."""
        pixels, more = 1, DETAILS[-1]
        while more == DETAILS[-1]:
            more = self._pixels_of_detail(pixels)
            pixels *= more
        return pixels

    def _pixels_of_detail(self, shrink: int) -> int:
        inside = slice(SIDE // 4, -SIDE // 4)  # shifts beyond the border cannot be undone
        loss = dict.fromkeys((*DETAILS, *(2 * pixels for pixels in DETAILS)), 0.0)  # by shrinking so far, and back
        for box in self._sample(shrink * SIDE):
            if min(box.size) == shrink * SIDE:
                gray = self.read(box, shrink)[0].mean(2, dtype=np.float32)
                for pixels in loss:
                    small = cv2.resize(gray, (round(SIDE / pixels),) * 2, interpolation=cv2.INTER_AREA)
                    back = cv2.resize(small, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
                    loss[pixels] += float(((back - gray)[inside, inside] ** 2).mean())
        return max((pixels for pixels in DETAILS if 0 < loss[pixels] < BLURRED**2 * loss[2 * pixels]), default=1)

    def _to_rgb(self, pixels: NDArray[Any]) -> NDArray[np.uint8]:
        """[B, H, W] of the bands -> [H, W, 3]."""
        if self._palette is not None:
            looked_up: NDArray[np.uint8] = self._palette[pixels[0]]
            return looked_up
        if self._range is not None:
            low, high = (np.broadcast_to(bound, len(pixels)).astype(np.float32)[:, None, None] for bound in self._range)
            real = np.nan_to_num(pixels.astype(np.float32), posinf=0.0, neginf=0.0)
            pixels = np.rint(((real - low) / np.maximum(high - low, 1e-12)).clip(0, 1) * 255).astype(np.uint8)
        return np.ascontiguousarray(np.broadcast_to(pixels, (3, *pixels.shape[1:])).transpose(1, 2, 0))

    def _sample(self, side: int = SIDE) -> Iterator[Box]:
        height, width = self.size
        for top in np.linspace(0, max(0, height - side), PLACES, dtype=int).tolist():
            for left in np.linspace(0, max(0, width - side), PLACES, dtype=int).tolist():
                yield Box(top, left, min(top + side, height), min(left + side, width))

    def _percentiles(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Values of each band that become 0 and 255: percentiles of a sample."""
        parts = []
        for box in self._sample():
            window = _window(box)
            valid = self._dataset.dataset_mask(window=window) > 0
            pixels = self._dataset.read(self._bands, window=window)[:, valid].astype(np.float64)
            parts.append(pixels[:, np.isfinite(pixels).all(0)])
        sample = np.concatenate(parts, 1)
        if not sample.shape[1]:
            return np.zeros(len(self._bands)), np.ones(len(self._bands))
        low, high = np.percentile(sample, PERCENTILES, axis=1)
        return low, high


@contextmanager
def open_scene(path: str, reading: Reading) -> Iterator[Scene]:
    """Open a picture of any format that GDAL reads, by file or by its names, as NETCDF:"a.nc":red."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        try:
            dataset = rasterio.open(path)
        except RasterioError as error:
            raise DatasetError(f"{path}: {error}") from None
        except UnicodeEncodeError:
            raise DatasetError(f"{path}: the name is not UTF-8, and GDAL opens no other; rename the file") from None
        with dataset:
            if not dataset.count:
                raise DatasetError(_no_bands(path, dataset))
            orientation = dataset.tags().get("EXIF_Orientation", "1")
            if orientation != "1":
                raise DatasetError(f"{path}: its EXIF orientation is {orientation}; turn it first")
            with rasterio.Env(GDAL_CACHEMAX=_cache_of(dataset, reading.window), GDAL_NUM_THREADS=1):
                yield Scene(dataset, reading)


def _no_bands(path: str, dataset: Any) -> str:
    """Why a file without bands is no picture: of its subdatasets, by GDAL's names, each may be one."""
    names = [value for key, value in dataset.tags(ns="SUBDATASETS").items() if key.endswith("_NAME")]
    if not names:
        return f"{path}: holds no bands"
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return (
        f"{path}: holds several rasters; give one of them in its place: {' '.join(map(quote, names[:MAX_NAMED]))}{more}"
    )


def _place(dataset: Any) -> tuple[Any, Affine]:
    """The CRS and the transform of a dataset; of control points where they lie on a grid."""
    points, crs = dataset.gcps
    if not abs(dataset.transform.determinant) > 0:  # not a number, too
        raise DatasetError(f"{dataset.name}: its transform, {dataset.transform[:6]}, gives pixels no area on a map")
    if dataset.transform != Affine.identity():
        return dataset.crs, dataset.transform
    if len(points) >= MIN_CONTROL_POINTS and crs is not None:
        grid = rasterio.transform.from_gcps(points)
        aside = [np.hypot(*np.subtract(~grid * (point.x, point.y), (point.col, point.row))) for point in points]
        if max(aside) <= MAX_ASIDE:
            return crs, grid
    kinds = {"control points": points, "RPCs": dataset.rpcs, "a geolocation array": dataset.tags(ns="GEOLOCATION")}
    for kind, value in kinds.items():
        if value:
            raise DatasetError(
                f"{dataset.name}: its place is given by {kind}, not by a grid of pixels; make one first, as by "
                f"gdalwarp{' -rpc' if kind == 'RPCs' else ''} IN OUT.tif"
            )
    return dataset.crs, dataset.transform


def _colours(dataset: Any) -> tuple[int, ...]:
    by_name = {colour.name: number for number, colour in zip(dataset.indexes, dataset.colorinterp, strict=True)}
    if {"red", "green", "blue"} <= by_name.keys():
        return by_name["red"], by_name["green"], by_name["blue"]
    colours = [number for number in dataset.indexes if number != by_name.get("alpha")]
    return tuple(colours[:3]) if len(colours) >= 3 else (colours[0],)


def _palette(dataset: Any) -> NDArray[np.uint8] | None:
    """[256, 3] colours of values, where the first band has a palette."""
    try:
        entries = dataset.colormap(1)
    except ValueError:
        return None
    colours = np.zeros((256, 3), np.uint8)
    for value, rgba in entries.items():
        if value < 256:
            colours[value] = rgba[:3]
    return colours if dataset.dtypes[0] == "uint8" else None


def _kind(name: str) -> np.dtype[Any]:
    """The numbers of a band by rasterio's name, which for one of GDAL's kinds is no name of NumPy's."""
    return np.dtype("complex64" if name == "complex_int16" else name)


def _cache_of(dataset: Any, window: int) -> int:
    """Bytes of GDAL's cache. Files stored in whole rows keep a row of windows, so that none is read twice."""
    height, width = dataset.block_shapes[0]
    if width < dataset.width:
        return CACHE
    pixel = sum(_kind(name).itemsize for name in dataset.dtypes)
    return int(min(max(CACHE, (2 * window + height) * dataset.width * pixel * 5 // 4), MAX_CACHE))


class Region(NamedTuple):
    """`value` of its pixels, mean `score`, number of pixels, and outline in the image's coordinates."""

    value: int
    score: float
    area: int
    outline: shapely.MultiPolygon


class ClassMap(AbstractContextManager["ClassMap"]):
    """A GeoTIFF of classes from 1, 0 = background, that is written block by block; of the size and place of the image.

    The probability of each pixel lies in the same folder, which should be a temporary one.
    """

    def __init__(self, path: Path, scene: Scene, block: int, names: Sequence[str]) -> None:
        kind = "uint8" if len(names) < 255 else "uint16"
        self._bands = _create(path, scene, block, kind)
        self._bands.update_tags(**{f"CLASS_{number}": name for number, name in enumerate(names, 1)})
        if kind == "uint8":
            colours = {number: (*colour(number - 1), 255) for number in range(1, len(names) + 1)}
            self._bands.write_colormap(1, colours)
        self._probability = _create(path.with_name(f"{path.name}.probability"), scene, block, "uint16")
        self._boxes: list[Box] = []

    def __exit__(self, *_: object) -> None:
        self._bands.close()
        self._probability.close()

    def write(self, box: Box, values: NDArray[np.integer], probability: NDArray[np.float32]) -> None:
        place = _window(box)
        self._bands.write(values.astype(self._bands.dtypes[0]), 1, window=place)
        self._probability.write((probability * LEVELS).round().astype(np.uint16), 1, window=place)
        self._boxes.append(box)

    def regions(self) -> Iterator[Region]:
        """Every region, connected by sides; their outlines are in memory."""
        band = rasterio.band(self._bands, 1)
        shapes = rasterio.features.shapes(band, mask=band, connectivity=4, transform=self._bands.transform)
        outlined = [(shapely.geometry.shape(outline), int(value)) for outline, value in shapes]
        outlines = [outline for outline, _ in outlined]
        tree = shapely.STRtree(outlines)
        votes = np.zeros(len(outlined) + 1)
        areas = np.zeros(len(outlined) + 1, np.int64)
        for box in self._boxes:
            place = _window(box)
            corners = ((x, y) for x in (box.left, box.right) for y in (box.top, box.bottom))
            around = shapely.MultiPoint([self._bands.transform * corner for corner in corners])  # by its extent
            numbers = tree.query(around)
            if not len(numbers):
                continue
            # Outlines run along the borders of pixels: a pixel belongs to the region around its centre.
            ids = rasterio.features.rasterize(
                [(outlines[number], number + 1) for number in numbers],
                box.size,
                transform=rasterio.windows.transform(place, self._bands.transform),
                dtype="int32",
            ).ravel()
            weights = self._probability.read(1, window=place).ravel()
            votes += np.bincount(ids, weights, len(outlined) + 1)
            areas += np.bincount(ids, minlength=len(outlined) + 1)
        for number, (outline, value) in enumerate(outlined, 1):
            score = votes[number] / LEVELS / areas[number]
            yield Region(value, float(score), int(areas[number]), shapely.MultiPolygon([outline]))


def _window(box: Box) -> Window:
    return Window(box.left, box.top, *box.size[::-1])


def _create(path: Path, scene: Scene, block: int, kind: str) -> Any:
    height, width = scene.size
    return rasterio.open(
        path,
        "w+",
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

    Exteriors are counterclockwise, as RFC 7946 has it. The GeoJSON names its coordinates by `crs`, or they are WGS 84.
    """
    outlines = np.array([shapely.to_wkb(shapely.orient_polygons(region.outline)) for region in regions], object)
    columns = [
        np.arange(1, len(regions) + 1, dtype=np.int64),
        np.array([names[region.value - 1] for region in regions], object),
        np.array([region.value - 1 for region in regions], np.int32),
        np.array([round(region.score, 4) for region in regions], np.float64),
        np.array([region.area for region in regions], np.int64),
    ]

    def write(driver: str, **layer_options: str) -> Path:
        path = stem.with_name(f"{stem.name}.{driver.lower()}")
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "'crs' was not provided")  # an image without a place
            pyogrio.raw.write(
                path,
                outlines,
                columns,
                FIELDS,
                layer=LAYER,
                driver=driver,
                geometry_type="MultiPolygon",
                crs=None if scene.crs is None else scene.crs.to_wkt(),
                layer_options=layer_options,
            )
        return path

    write("GPKG")
    options = _geojson_options(scene.crs)
    if options:
        try:
            _keep_areas(write("GeoJSON", **options))
            return len(regions)
        except pyogrio.errors.FeatureError:  # pixels in the corners of a map of the world are no places on it
            stem.with_name(f"{stem.name}.geojson").unlink()
    geojson = write("GeoJSON")
    if scene.crs is not None:
        # As WKT, which GIS read, where GDAL has written none: a site's coordinates, or another planet's.
        with geojson.open(encoding="utf-8") as content:
            has_crs = '"crs":' in content.read(HEAD)
        if not has_crs:
            named = {"crs": {"type": "name", "properties": {"name": scene.crs.to_wkt()}}}
            geojson.write_text(json.dumps(json.loads(geojson.read_text(encoding="utf-8")) | named), encoding="utf-8")
    return len(regions)


def _keep_areas(geojson: Path) -> None:
    """Leave polygons in each feature: what GDAL cuts at 180 degrees may have lines along the cut."""
    content = geojson.read_text(encoding="utf-8")
    if '"GeometryCollection"' not in content:
        return
    collection = json.loads(content)
    for feature in collection["features"]:
        parts = feature["geometry"].get("geometries")
        if parts is not None:
            one = [part["coordinates"] for part in parts if part["type"] == "Polygon"]
            several = [area for part in parts if part["type"] == "MultiPolygon" for area in part["coordinates"]]
            feature["geometry"] = {"type": "MultiPolygon", "coordinates": one + several}
    geojson.write_text(json.dumps(collection), encoding="utf-8")


def _geojson_options(crs: Any) -> dict[str, str]:
    """GDAL's options: `crs`, the form of 2008 that GIS read, where GDAL writes it, else RFC 7946.

    It writes only numbers of EPSG, not of ESRI.
    """
    if crs is None or (crs.to_authority(confidence_threshold=100) or ("",))[0] in ("EPSG", "OGC"):
        return {}
    if not (crs.is_geographic or crs.is_projected):  # of a site
        return {}
    try:
        rasterio.warp.transform(crs, "EPSG:4326", [0.0], [0.0])
    except Exception:  # of another planet; GDAL's errors have no public class
        return {}
    return {"RFC7946": "YES", "COORDINATE_PRECISION": "9"}
