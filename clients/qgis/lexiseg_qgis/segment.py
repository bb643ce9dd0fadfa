"""The algorithm: ask a server about each window of a raster, and write what it finds as polygons."""

from __future__ import annotations

from typing import Any

from osgeo import gdal
from qgis.core import (
    QgsApplication,
    QgsAuthMethodConfig,
    QgsFeature,
    QgsFeatureSink,
    QgsField,
    QgsFields,
    QgsGeometry,
    QgsProcessing,
    QgsProcessingAlgorithm,
    QgsProcessingException,
    QgsProcessingParameterAuthConfig,
    QgsProcessingParameterFeatureSink,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterString,
    QgsWkbTypes,
)
from qgis.PyQt.QtCore import QVariant

from .windows import MIN_SIDE, Raster, Window, to_map, to_wkt, windows_of

FIELDS = (("label", QVariant.String), ("score", QVariant.Double), ("pixels", QVariant.Int))
SIMPLIFY = 1.0  # pixels that outlines may depart from the masks


class SegmentByWords(QgsProcessingAlgorithm):
    """Polygons of what words name, with label, score and pixels, in the raster's coordinates."""

    INPUT, WORDS, SERVER, LOGIN, WINDOW, THRESHOLD, OUTPUT = (
        "INPUT", "WORDS", "SERVER", "LOGIN", "WINDOW", "THRESHOLD", "OUTPUT"
    )  # fmt: skip

    def createInstance(self) -> SegmentByWords:
        return SegmentByWords()

    def name(self) -> str:
        return "segmentbywords"

    def displayName(self) -> str:
        return "Segment by words"

    def shortHelpString(self) -> str:
        return (
            "Asks a lexiseg server about each window of a raster. Words stand between commas. Parts of an object in "
            "two windows are two polygons: 'Dissolve' by label joins them. It sees the first three bands, or one. "
            "A server with API keys gets the password of a basic authentication that QGIS keeps."
        )

    def initAlgorithm(self, configuration: Any = None) -> None:
        number = QgsProcessingParameterNumber
        self.addParameter(QgsProcessingParameterRasterLayer(self.INPUT, "Raster"))
        self.addParameter(QgsProcessingParameterString(self.WORDS, "Words"))
        self.addParameter(QgsProcessingParameterString(self.SERVER, "Server", "http://localhost:8000"))
        # QGIS writes parameters to its history; of a kept login that is its id.
        self.addParameter(QgsProcessingParameterAuthConfig(self.LOGIN, "API key, kept by QGIS", optional=True))
        self.addParameter(number(self.WINDOW, "Window in pixels", number.Integer, 1024, minValue=64, maxValue=4096))
        self.addParameter(
            number(self.THRESHOLD, "Lowest score", number.Double, None, optional=True, minValue=0, maxValue=1)
        )
        self.addParameter(QgsProcessingParameterFeatureSink(self.OUTPUT, "Segments", QgsProcessing.TypeVectorPolygon))

    def processAlgorithm(self, parameters: dict[str, Any], context: Any, feedback: Any) -> dict[str, Any]:
        layer = self.parameterAsRasterLayer(parameters, self.INPUT, context)
        words = [word.strip() for word in self.parameterAsString(parameters, self.WORDS, context).split(",")]
        if not any(words):
            raise QgsProcessingException("Words: expected at least one, as: road, building")
        if layer is None:
            raise QgsProcessingException(self.invalidRasterError(parameters, self.INPUT))
        source = gdal.Open(layer.source())
        if source is None:
            raise QgsProcessingException(f"{layer.source()}: GDAL cannot read it; save it as a GeoTIFF first")
        if not layer.crs().isValid():
            feedback.pushWarning(f"{layer.name()} has no coordinate reference system: neither have the segments")
        if min(source.RasterXSize, source.RasterYSize) < MIN_SIDE:
            raise QgsProcessingException(f"expected a raster of at least {MIN_SIDE} pixels a side")
        fields = QgsFields()
        for name, kind in FIELDS:
            fields.append(QgsField(name, kind))
        sink, place = self.parameterAsSink(parameters, self.OUTPUT, context, fields, QgsWkbTypes.Polygon, layer.crs())
        if sink is None:
            raise QgsProcessingException(self.invalidSinkError(parameters, self.OUTPUT))
        asked = {
            "threshold": parameters.get(self.THRESHOLD),
            "classes": [word for word in words if word],
        }
        server, login = (self.parameterAsString(parameters, name, context) for name in (self.SERVER, self.LOGIN))
        with _client(server, _key(login)) as client:
            self._write(client, asked, source, sink, self.parameterAsInt(parameters, self.WINDOW, context), feedback)
        return {self.OUTPUT: place}

    def _write(self, client: Any, asked: dict[str, Any], source: Any, sink: Any, side: int, feedback: Any) -> None:
        """One request a window that has pixels; features are written as they come."""
        raster = Raster(source)
        windows = list(windows_of(source.RasterXSize, source.RasterYSize, side))
        warned: set[str] = set()
        for done, window in enumerate(windows):
            if feedback.isCanceled():
                return
            pixels, valid = raster.read(window)
            if valid.any():
                answer = _ask(client, pixels, asked)
                for detail in {warning.detail for warning in answer.warnings} - warned:
                    feedback.pushWarning(detail)
                    warned.add(detail)
                for segment in answer:
                    self._add(sink, segment, valid, window, source.GetGeoTransform())
            feedback.setProgress(100 * (done + 1) / len(windows))

    def _add(self, sink: Any, segment: Any, valid: Any, window: Window, transform: Any) -> None:
        """A feature for each part of a segment, where the raster has pixels."""
        from lexiseg_labels.masks.polygons import rings_of, simplified

        mask = segment.mask & valid
        for ring in simplified(rings_of(mask), SIMPLIFY):
            rings = [to_map(corners, window, transform) for corners in (ring.exterior, *ring.holes)]
            feature = QgsFeature()
            feature.setGeometry(QgsGeometry.fromWkt(to_wkt(rings)))
            feature.setAttributes([segment.label, segment.score, int(mask.sum())])
            sink.addFeature(feature, QgsFeatureSink.FastInsert)


def _ask(client: Any, pixels: Any, asked: dict[str, Any]) -> Any:
    """The answer about a window. Raises QgsProcessingException: there is none."""
    from lexiseg_client import LexisegError

    try:
        return client.segment(pixels, **asked)
    except LexisegError as error:
        raise QgsProcessingException(str(error)) from None


def _key(login: str) -> str:
    """The API key in a login that QGIS keeps, by its id. Raises QgsProcessingException: it cannot be read."""
    config = QgsAuthMethodConfig()
    if login and not QgsApplication.authManager().loadAuthenticationConfig(login, config, True):
        raise QgsProcessingException(f"API key: QGIS does not give the login {login!r}")
    return str(config.config("password", ""))


def _client(server: str, key: str) -> Any:
    """The Python client. Raises QgsProcessingException: it is not installed, or the address is none."""
    try:
        from lexiseg_client import Client
    except ImportError:
        raise QgsProcessingException(
            "The Python client is missing: pip install ./labels ./clients/python, in the Python of QGIS"
        ) from None
    try:
        return Client(server, api_key=key or None)
    except (ValueError, ImportError) as error:
        raise QgsProcessingException(f"Server: {error}") from None
