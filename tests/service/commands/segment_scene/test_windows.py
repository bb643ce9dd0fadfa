"""`lexiseg segment-scene`, through the real command line and the real model, and how scenes are read."""

import json
import os
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio.raw
import pytest
import rasterio
import rasterio.features
import rasterio.warp
import shapely
from numpy.typing import NDArray
from PIL import Image
from rasterio import Affine
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp
from rasterio.rpc import RPC
from scipy.io import netcdf_file

from lexiseg_service.commands.segment_scene.scene import Box, ClassMap, Reading, Region, open_scene, write_outlines
from tests import pictures
from tests.service.commands.command_line import CommandLine
from tests.service.commands.segment_scene import scenes

WORDS = ("-c", "sky", "-c", "cat", "--window", "128")


def china() -> NDArray[np.uint8]:
    """Bands of a photograph of 200 x 160."""
    return np.asarray(pictures.photograph("china").resize((200, 160))).transpose(2, 0, 1)


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    """A photograph with a place on a map; a corner of it is not there."""
    bands = np.asarray(pictures.photograph("china").resize((300, 260))).transpose(2, 0, 1).copy()
    bands[:, :, 290:] = 0
    return scenes.write(tmp_path / "scene.tif", np.maximum(bands, bands.max(0) > 0), nodata=0)


def test_map_outlines_and_geopackage_say_the_same_in_the_pictures_coordinates(
    lexiseg: CommandLine, scene: Path, tmp_path: Path
) -> None:
    outcome = lexiseg("segment-scene", scene, *WORDS, "--out", tmp_path / "out")

    assert outcome.status == 0, outcome.err
    with rasterio.open(tmp_path / "out/scene.tif") as written, rasterio.open(scene) as picture:
        classes = written.read(1)
        assert (written.crs, written.transform, written.shape) == (picture.crs, picture.transform, picture.shape)
        assert (classes[picture.dataset_mask() == 0] == 0).all()
        assert written.tags()["CLASS_1"] == "sky"
    content = json.loads((tmp_path / "out/scene.geojson").read_text())
    assert content["crs"]["properties"]["name"] == "urn:ogc:def:crs:EPSG::32633"
    shapes = [(each["geometry"], each["properties"]["class_index"] + 1) for each in content["features"]]
    drawn = rasterio.features.rasterize(shapes, classes.shape, transform=scenes.PLACE)
    assert {0, 1} <= set(np.unique(classes).tolist())
    assert np.array_equal(drawn, classes)
    assert sum(each["properties"]["area_px"] for each in content["features"]) == (classes > 0).sum()
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"scene.tif", "scene.geojson", "scene.gpkg"}
    meta, _, outlines, fields = pyogrio.raw.read(tmp_path / "out/scene.gpkg")
    assert meta["crs"] == "EPSG:32633"
    columns = dict(zip(meta["fields"], fields, strict=True))
    assert columns["label"].tolist() == [each["properties"]["label"] for each in content["features"]]
    for outline, feature in zip(shapely.from_wkb(outlines), content["features"], strict=True):
        assert outline.equals(shapely.geometry.shape(feature["geometry"]))
        assert outline.is_valid
        assert outline.geoms[0].exterior.is_ccw


def test_odd_names_cost_at_most_themselves(lexiseg: CommandLine, scene: Path, tmp_path: Path) -> None:
    odd = [scene.with_name(os.fsdecode(name)) for name in (b"caf\xe9.tif", b"[red].tif", b"n" * 251 + b".tif")]
    for path in odd:
        path.write_bytes(scene.read_bytes())

    outcome = lexiseg("segment-scene", *odd, *WORDS, "--out", tmp_path / "out")

    assert outcome.status == 1
    assert outcome.err.count("lexiseg: ") == 1
    assert "caf\\udce9.tif: the name is not UTF-8" in outcome.err
    names = sorted(path.name for path in (tmp_path / "out").glob("*.geojson"))
    assert (names[0], names[1][:99]) == ("[red].geojson", "n" * 99)


@pytest.mark.parametrize(
    ("coordinates", "named"),
    [
        ("+proj=laea +lat_0=45 +lon_0=15 +x_0=500000 +y_0=5000000 +datum=WGS84 +units=m", None),
        ("ESRI:102014", None),
        ("EPSG:3857", "urn:ogc:def:crs:EPSG::3857"),
    ],
)
def test_geojson_says_its_coordinates_or_has_those_of_the_globe(
    lexiseg: CommandLine, tmp_path: Path, coordinates: str, named: str | None
) -> None:
    path = scenes.write(tmp_path / "a.tif", china(), crs=coordinates)

    assert lexiseg("segment-scene", path, *WORDS, "--out", tmp_path / "out").status == 0

    content = json.loads((tmp_path / "out/a.geojson").read_text())
    left, top = content["features"][0]["geometry"]["coordinates"][0][0][0]
    there = rasterio.warp.transform(coordinates, "EPSG:4326", [scenes.PLACE.c], [scenes.PLACE.f])
    assert content.get("crs", {}).get("properties", {}).get("name") == named
    assert (abs(left - there[0][0]) < 0.01 and abs(top - there[1][0]) < 0.01) == (named is None)


@pytest.mark.parametrize("coordinates", ["IAU_2015:30100", 'LOCAL_CS["site",UNIT["metre",1]]'], ids=["Moon", "site"])
def test_geojson_names_coordinates_that_have_no_degrees_on_earth(
    lexiseg: CommandLine, tmp_path: Path, coordinates: str
) -> None:
    path = scenes.write(tmp_path / "a.tif", china(), crs=coordinates, transform=Affine(0.01, 0, 10, 0, -0.01, 20))

    assert lexiseg("segment-scene", path, *WORDS, "--out", tmp_path / "out").status == 0

    with rasterio.open(path) as written:
        name = json.loads((tmp_path / "out/a.geojson").read_text())["crs"]["properties"]["name"]
        assert rasterio.CRS.from_user_input(name) == written.crs


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_of_a_file_of_several_rasters_each_is_read_by_the_name_that_the_refusal_gives(
    lexiseg: CommandLine, tmp_path: Path
) -> None:
    path = tmp_path / "a.nc"
    with netcdf_file(path, "w") as to:
        to.createDimension("y", 40)
        to.createDimension("x", 50)
        for name in ("red", "green"):
            to.createVariable(name, "h", ("y", "x"))[:] = np.arange(2000).reshape(40, 50)

    refused = lexiseg("segment-scene", path, *WORDS, "--out", tmp_path / "out")
    names = [name for name in shlex.split(refused.err) if name.startswith("NETCDF:")]
    outcome = lexiseg("segment-scene", *names, *WORDS, "--out", tmp_path / "out")

    assert refused.status == 1
    assert outcome.status == 0, outcome.err
    assert names == [f'NETCDF:"{path}":red', f'NETCDF:"{path}":green']
    assert sorted(made.name for made in (tmp_path / "out").glob("*.tif")) == ["a-green.tif", "a-red.tif"]


@pytest.mark.parametrize(
    ("projection", "named"), [("+proj=sinu +R=6371007", False), ("+proj=robin", True)], ids=["cut", "has corners"]
)
def test_outlines_of_a_whole_globe_are_areas(projection: str, named: bool, tmp_path: Path) -> None:
    degree = 111_195
    globe = scenes.write(
        tmp_path / "a.tif", np.ones((1, 90, 180), np.uint8), crs=projection,
        transform=Affine(2 * degree, 0, -180 * degree, 0, -2 * degree, 90 * degree),
    )  # fmt: skip
    classes = np.kron(np.random.default_rng(0).integers(1, 3, (9, 18)), np.ones((10, 10))).astype(np.uint8)
    everything = Box(0, 0, *classes.shape)

    with open_scene(str(globe), Reading(64)) as scene, ClassMap(tmp_path / "b.tif", scene, 64, ["a", "b"]) as written:
        written.write(everything, classes, np.ones(classes.shape, np.float32))
        regions = list(written.regions())
        assert write_outlines(tmp_path / "b", scene, regions, ["a", "b"]) == len(regions)

    content = json.loads((tmp_path / "b.geojson").read_text())
    assert len(content["features"]) == len(regions)
    assert {each["geometry"]["type"] for each in content["features"]} == {"MultiPolygon"}
    assert ("crs" in content) is named


def test_a_picture_that_is_turned_on_its_map_has_all_its_regions(lexiseg: CommandLine, tmp_path: Path) -> None:
    turned = scenes.PLACE * Affine.rotation(30)
    path = scenes.write(tmp_path / "a.tif", china(), transform=turned)

    assert lexiseg("segment-scene", path, *WORDS, "--out", tmp_path / "out").status == 0

    with rasterio.open(tmp_path / "out/a.tif") as written:
        classes = written.read(1)
    content = json.loads((tmp_path / "out/a.geojson").read_text())
    shapes = [(each["geometry"], each["properties"]["class_index"] + 1) for each in content["features"]]
    assert np.array_equal(rasterio.features.rasterize(shapes, classes.shape, transform=turned), classes)
    assert sum(each["properties"]["area_px"] for each in content["features"]) == (classes > 0).sum() > 0


def control_points(bend: float = 0.0) -> list[GroundControlPoint]:
    """Four corners and the middle of the place of the scenes; the middle lies some pixels beside it."""
    corners = [GroundControlPoint(row, col, *(scenes.PLACE * (col, row))) for row in (0, 160) for col in (0, 200)]
    return [*corners, GroundControlPoint(80, 100, *(scenes.PLACE * (100 + bend, 80)))]


def test_control_points_on_a_grid_are_the_pictures_place(lexiseg: CommandLine, tmp_path: Path) -> None:
    usual = scenes.write(tmp_path / "usual.tif", china())
    placed = scenes.write(tmp_path / "placed.tif", china(), transform=None, gcps=control_points())

    assert lexiseg("segment-scene", usual, placed, *WORDS, "--out", tmp_path / "out").status == 0

    with rasterio.open(tmp_path / "out/usual.tif") as one, rasterio.open(tmp_path / "out/placed.tif") as other:
        assert other.crs == one.crs
        assert other.transform.almost_equals(one.transform, 1e-3)
        assert np.array_equal(other.read(1), one.read(1))


ONE, COLUMN, ROW = ([float(place == at) for place in range(20)] for at in (0, 1, 2))
RPCS = RPC(
    height_off=0, height_scale=500, lat_off=45, lat_scale=1, long_off=15, long_scale=1,
    line_num_coeff=ROW, line_den_coeff=ONE, line_off=80, line_scale=80,
    samp_num_coeff=COLUMN, samp_den_coeff=ONE, samp_off=100, samp_scale=100,
)  # fmt: skip


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"gcps": control_points(30.0)}, r"its place is given by control points, .* gdalwarp"),
        ({"rpcs": RPCS, "crs": None}, r"its place is given by RPCs, .* gdalwarp -rpc"),
        ({"dtype": "complex_int16"}, "numbers are complex"),
        ({"transform": Affine(0, 0, 5, 0, 0, 5)}, "gives pixels no area on a map"),
        ({"transform": Affine(np.nan, 0, 5, 0, 1, 5)}, "gives pixels no area on a map"),
    ],
    ids=["control points", "RPCs", "complex numbers", "no area", "no numbers"],
)
def test_what_is_no_picture_on_a_grid_is_refused_in_words(
    lexiseg: CommandLine, tmp_path: Path, fields: dict[str, Any], said: str
) -> None:
    bands = china().astype(np.complex64) if "dtype" in fields else china()
    path = scenes.write(tmp_path / "a.tif", bands, **{"transform": None} | fields)

    outcome = lexiseg("segment-scene", path, *WORDS, "--out", tmp_path / "out")

    assert outcome.status == 1
    assert re.search(said, outcome.err)


def test_objects_and_a_picture_without_a_place_count_in_pixels(lexiseg: CommandLine, tmp_path: Path) -> None:
    pictures.photograph("chelsea").resize((200, 150)).save(tmp_path / "cat.png")

    outcome = lexiseg("segment-scene", tmp_path / "cat.png", *WORDS, "--task", "instance", "--out", tmp_path / "out")

    assert outcome.status == 0, outcome.err
    content = json.loads((tmp_path / "out/cat.geojson").read_text())
    assert "crs" not in content
    assert content["features"]
    left, top, right, bottom = shapely.total_bounds(
        [shapely.geometry.shape(each["geometry"]) for each in content["features"]]
    )
    assert 0 <= left < right <= 200
    assert 0 <= top < bottom <= 150


def test_an_enlarged_photograph_has_the_areas_of_the_whole(lexiseg: CommandLine, tmp_path: Path) -> None:
    china = pictures.photograph("china")
    china.resize((4 * china.width, 4 * china.height), Image.Resampling.BICUBIC).save(tmp_path / "big.png")
    words = ("-c", "sky", "-c", "building", "-c", "tree")

    windows = lexiseg("segment-scene", tmp_path / "big.png", *words, "--window", "512", "--out", tmp_path / "windows")
    at_once = lexiseg("segment", tmp_path / "big.png", *words, "--format", "labelmap", "--out", tmp_path / "whole")

    assert (windows.status, at_once.status) == (0, 0), windows.err + at_once.err
    with rasterio.open(tmp_path / "windows/big.tif") as written:
        labels = written.read(1)
    whole = np.asarray(Image.open(next((tmp_path / "whole").rglob("*.png"))))
    for value in (1, 2, 3):
        assert (labels == value).mean() == pytest.approx((whole == value).mean(), rel=0.05)


SIZE, BLOCK = (150, 210), 48


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


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_ring_over_many_blocks_is_one_region_pixel_for_pixel(tmp_path: Path) -> None:
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    ring = np.abs(np.hypot(y - 75, x - 105) - 50) < 12

    (region,) = merged(ring.astype(np.uint8), tmp_path)

    assert np.array_equal(drawn(region), ring)
    assert region.area == ring.sum()
    assert [len(part.interiors) for part in region.outline.geoms] == [1]
    assert region.score == pytest.approx(0.5, abs=1e-4)


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

    real = numbers(3, np.float32, 100)
    real[0, 5, 5], real[1, 6, 6] = np.nan, np.inf

    assert np.array_equal(read(clear)[1], bands[3] > 0)
    assert np.array_equal(read(scenes.write(tmp_path / "real.tif", real))[1], np.isfinite(real).all(0))
    assert np.array_equal(read(holes)[1], without[0] >= 0)


@pytest.mark.parametrize(("times", "detail"), [(1, 1), (2, 2), (4, 4), (16, 16)])
def test_an_enlarged_photograph_has_no_detail_as_small_as_its_pixels(tmp_path: Path, times: int, detail: int) -> None:
    photograph = pictures.small("china", 320)
    photograph.resize((times * photograph.width, times * photograph.height), Image.Resampling.BICUBIC).save(
        tmp_path / "a.jpg", quality=90
    )

    with open_scene(str(tmp_path / "a.jpg"), Reading(512)) as scene:
        assert scene.pixels_of_detail() == detail
