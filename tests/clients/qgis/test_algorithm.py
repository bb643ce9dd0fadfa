"""The algorithm of the QGIS plug-in against a real server; the part of QGIS's interface that it uses is a stand-in."""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest
import shapely

from tests import pictures
from tests.http_server import Quiet, serving
from tests.integration.server import ROOT, Server

TRANSFORM = (10.0, 0.5, 0.0, 20.0, 0.0, -0.5)


class Algorithm:
    def parameterAsRasterLayer(self, values: Any, name: str, context: Any) -> Any:
        return values[name]

    def invalidRasterError(self, values: Any, name: str) -> str:
        return f"Could not load source layer for {name}"

    def parameterAsString(self, values: Any, name: str, context: Any) -> str:
        return str(values.get(name, ""))

    def parameterAsInt(self, values: Any, name: str, context: Any) -> int:
        return int(values[name])

    def parameterAsSink(self, values: Any, name: str, *of_layer: Any) -> Any:
        self.crs = of_layer[-1]
        return values[name], "memory"


class Feature:
    def setGeometry(self, geometry: Any) -> None:
        self.geometry = geometry

    def setAttributes(self, attributes: list[Any]) -> None:
        self.attributes = attributes


class Sink:
    def __init__(self) -> None:
        self.features: list[Feature] = []

    def addFeature(self, feature: Feature, flag: Any) -> None:
        self.features.append(feature)


class ProcessingError(Exception):
    pass


def raster(pixels: np.ndarray[Any, Any], nodata: float | None = None, palette: Any = None) -> Any:
    """A dataset of GDAL over pixels [H, W, bands]."""

    def reader(values: np.ndarray[Any, Any]) -> Any:
        def read(left: int, top: int, width: int, height: int, **sizes: int) -> Any:
            return values[top : top + height, left : left + width]

        return read

    def band(number: int) -> Any:
        values = pixels[..., number - 1]
        mask = SimpleNamespace(ReadAsArray=reader(np.where(values == nodata, 0, 255)))
        return SimpleNamespace(
            ReadAsArray=reader(values), GetMaskBand=lambda: mask, GetColorTable=lambda: palette
        )  # fmt: skip

    return SimpleNamespace(
        RasterXSize=pixels.shape[1],
        RasterYSize=pixels.shape[0],
        RasterCount=pixels.shape[2],
        GetRasterBand=band,
        GetGeoTransform=lambda: TRANSFORM,
    )


class Login:
    """A login that QGIS keeps under the id `abc1234`."""

    def __init__(self) -> None:
        self.fields: dict[str, str] = {}

    def config(self, name: str, default: str) -> str:
        return self.fields.get(name, default)


def load_login(id: str, login: Login, full: bool) -> bool:
    login.fields = {"username": "me", "password": "secret-key"} if full else {}
    return id == "abc1234"


@contextmanager
def plugin(dataset: Any) -> Iterator[ModuleType]:
    """The plug-in's modules beside stand-ins of QGIS and GDAL."""
    core = MagicMock(
        QgsApplication=SimpleNamespace(authManager=lambda: SimpleNamespace(loadAuthenticationConfig=load_login)),
        QgsAuthMethodConfig=Login,
        QgsFeature=Feature,
        QgsFields=list,
        QgsGeometry=SimpleNamespace(fromWkt=shapely.from_wkt),
        QgsProcessingAlgorithm=Algorithm,
        QgsProcessingException=ProcessingError,
    )
    gdal = SimpleNamespace(Open=lambda path: dataset)
    stand_ins = {"qgis.core": core, "osgeo": MagicMock(gdal=gdal)} | {
        name: MagicMock() for name in ("qgis", "qgis.PyQt", "qgis.PyQt.QtCore")
    }
    folder = str(ROOT / "clients/qgis")
    with pytest.MonkeyPatch.context() as patch:
        for name, module in stand_ins.items():
            patch.setitem(sys.modules, name, module)
        patch.syspath_prepend(folder)
        try:
            yield importlib.import_module("lexiseg_qgis.segment")
        finally:
            for name in [name for name in sys.modules if name.startswith("lexiseg_qgis")]:
                del sys.modules[name]


class Feedback:
    def __init__(self) -> None:
        self.progress: list[float] = []
        self.warnings: list[str] = []

    def isCanceled(self) -> bool:
        return False

    def setProgress(self, percent: float) -> None:
        self.progress.append(percent)

    def pushWarning(self, text: str) -> None:
        self.warnings.append(text)


def layer(has_crs: bool = True) -> Any:
    crs = SimpleNamespace(isValid=lambda: has_crs)
    return SimpleNamespace(source=lambda: "scene.tif", name=lambda: "scene", crs=lambda: crs)


def ask(dataset: Any, url: str, **values: Any) -> tuple[Sink, Feedback]:
    sink, feedback = Sink(), Feedback()
    given = {"INPUT": layer(), "WORDS": "sky, building", "SERVER": url, "WINDOW": 128, "OUTPUT": sink}
    with plugin(dataset) as segment:
        assert segment.SegmentByWords().processAlgorithm({**given, **values}, None, feedback) == {"OUTPUT": "memory"}
    return sink, feedback


PIXELS = np.asarray(pictures.small("china", 200))


def test_each_window_gives_polygons_with_attributes_in_the_layers_coordinates(server: Server) -> None:
    sink, feedback = ask(raster(PIXELS), server.url)

    height, width = PIXELS.shape[:2]
    assert {feature.attributes[0] for feature in sink.features} <= {"sky", "building"}
    assert sink.features
    assert all(0 < feature.attributes[1] <= 1 for feature in sink.features)
    edges = shapely.union_all([feature.geometry for feature in sink.features]).bounds
    assert 10 <= edges[0] < edges[2] <= 10 + width / 2
    assert 20 - height / 2 <= edges[1] < edges[3] <= 20
    assert feedback.progress[-1] == 100
    assert len(feedback.progress) == 4


@pytest.mark.parametrize(
    ("kind", "nodata"), [(np.float32, -9999.0), (np.float32, np.nan), (np.uint16, 65535)], ids=["nodata", "NaN", "top"]
)
def test_pixels_that_are_not_there_change_no_others(server: Server, kind: type, nodata: float) -> None:
    width = 130
    scene: np.ndarray[Any, Any] = PIXELS.astype(kind) * 10
    scene[:, width:] = nodata

    sink, _ = ask(raster(scene, nodata), server.url, WINDOW=256)

    places = {label: shapely.union_all(outlines) for label, outlines in by_label(sink).items()}
    assert places.keys() == {"sky", "building"}
    assert 10 + width / 2 - 1 < max(place.bounds[2] for place in places.values()) <= 10 + width / 2


def by_label(sink: Sink) -> dict[str, list[Any]]:
    labels = {feature.attributes[0] for feature in sink.features}
    return {name: [each.geometry for each in sink.features if each.attributes[0] == name] for name in labels}


def test_a_window_without_a_pixel_is_not_asked_about() -> None:
    sink, feedback = ask(raster(PIXELS * 0, 0), "http://localhost:9")

    assert not sink.features
    assert feedback.progress[-1] == 100


def test_a_palette_is_read_as_its_colours(server: Server) -> None:
    paletted = pictures.small("china", 200).quantize(256)
    colours = np.asarray(paletted.getpalette()).reshape(-1, 3)
    table = SimpleNamespace(GetCount=lambda: len(colours), GetColorEntry=lambda value: (*colours[value], 255))

    dataset = raster(np.asarray(paletted)[..., None], palette=table)
    with plugin(dataset) as segment:
        pixels, valid = segment.Raster(dataset).read((0, 0, 200, 100))
    sink, _ = ask(dataset, server.url, WINDOW=256)

    assert np.array_equal(pixels, np.asarray(paletted.convert("RGB"))[:100])
    assert valid.all()
    assert by_label(sink).keys() == {"sky", "building"}


def test_the_key_is_the_password_of_a_login_that_qgis_keeps() -> None:
    keys: list[str | None] = []

    class Handler(Quiet):
        def do_POST(self) -> None:
            keys.append(self.headers["Authorization"])
            self.send_error(401)

    with serving(Handler) as url:
        with pytest.raises(ProcessingError):
            ask(raster(PIXELS), url, LOGIN="abc1234")
        with pytest.raises(ProcessingError, match="does not give the login 'other'"):
            ask(raster(PIXELS), url, LOGIN="other")

    assert keys == ["Bearer secret-key"]


def test_a_raster_without_a_crs_is_warned_about(server: Server) -> None:
    _, feedback = ask(raster(PIXELS), server.url, INPUT=layer(has_crs=False))

    assert feedback.warnings == ["scene has no coordinate reference system: neither have the segments"]


def test_a_word_that_the_model_does_not_know_is_warned_about_once(server: Server) -> None:
    _, feedback = ask(raster(PIXELS), server.url, WORDS="sky, Zwölfkampf")

    (warning,) = feedback.warnings
    assert warning.startswith("'Zwölfkampf' does not look like an English word")


@pytest.mark.parametrize(
    ("values", "dataset", "said"),
    [
        ({"INPUT": None}, raster(PIXELS), "Could not load source layer for INPUT"),
        ({"WORDS": " , "}, raster(PIXELS), "Words: expected at least one"),
        ({}, None, "scene.tif: GDAL cannot read it"),
        ({}, raster(PIXELS[:8]), "at least 16 pixels a side"),
        ({"SERVER": "nowhere"}, raster(PIXELS), "Server: expected an address"),
        ({"THRESHOLD": 7}, raster(PIXELS), "threshold"),
    ],
)
def test_what_cannot_be_asked_is_said_in_one_sentence(
    server: Server, values: dict[str, Any], dataset: Any, said: str
) -> None:
    with pytest.raises(ProcessingError, match=said):
        ask(dataset, server.url, **values)
