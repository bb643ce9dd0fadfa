"""The algorithm: ask a server about each window of a raster, and write what it finds as polygons."""

from __future__ import annotations

from typing import Any

from osgeo import gdal
from qgis.core import (
    QgsFeature,
    QgsFeatureSink,
    QgsField,
    QgsFields,
    QgsGeometry,
    QgsProcessing,
    QgsProcessingAlgorithm,
    QgsProcessingException,
    QgsProcessingParameterFeatureSink,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterString,
    QgsWkbTypes,
)
from qgis.PyQt.QtCore import QVariant

from .windows import MIN_SIDE, Window, range_of, to_map, to_rgb, to_wkt, windows_of

FIELDS = (("label", QVariant.String), ("score", QVariant.Double), ("pixels", QVariant.Int))
SAMPLE = 512  # pixels a side, of which the values of black and white are taken


class SegmentByWords(QgsProcessingAlgorithm):
    """Polygons of what words name, with label, score and pixels, in the raster's coordinates."""

    INPUT, WORDS, SERVER, KEY, WINDOW, THRESHOLD, OUTPUT = (
        "INPUT", "WORDS", "SERVER", "KEY", "WINDOW", "THRESHOLD", "OUTPUT"
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
            "two windows are two polygons: 'Dissolve' by label joins them. It sees the first three bands, or one."
        )

    def initAlgorithm(self, configuration: Any = None) -> None:
        number = QgsProcessingParameterNumber
        self.addParameter(QgsProcessingParameterRasterLayer(self.INPUT, "Raster"))
        self.addParameter(QgsProcessingParameterString(self.WORDS, "Words"))
        self.addParameter(QgsProcessingParameterString(self.SERVER, "Server", "http://localhost:8000"))
        self.addParameter(QgsProcessingParameterString(self.KEY, "API key", "", optional=True))
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
            "mask": "polygon",
            "simplify": 1.0,
        }
        server, key = (self.parameterAsString(parameters, name, context) for name in (self.SERVER, self.KEY))
        with _client(server, key) as client:
            self._write(client, asked, source, sink, self.parameterAsInt(parameters, self.WINDOW, context), feedback)
        return {self.OUTPUT: place}

    def _write(self, client: Any, asked: dict[str, Any], source: Any, sink: Any, side: int, feedback: Any) -> None:
        """One request a window; features are written as they come."""
        from lexiseg_client import LexisegError

        bands = [source.GetRasterBand(number) for number in ((1, 2, 3) if source.RasterCount >= 3 else (1,))]
        size = (min(SAMPLE, source.RasterXSize), min(SAMPLE, source.RasterYSize))
        ranges = [range_of(band.ReadAsArray(buf_xsize=size[0], buf_ysize=size[1])) for band in bands]
        windows = list(windows_of(source.RasterXSize, source.RasterYSize, side))
        warned: set[str] = set()
        for done, window in enumerate(windows):
            if feedback.isCanceled():
                return
            pixels = to_rgb([band.ReadAsArray(*window) for band in bands], ranges)
            try:
                answer = client.segment(pixels, **asked)
            except LexisegError as error:
                raise QgsProcessingException(str(error)) from None
            for detail in {warning.detail for warning in answer.warnings} - warned:
                feedback.pushWarning(detail)
                warned.add(detail)
            for segment in answer:
                self._add(sink, segment, window, source.GetGeoTransform())
            feedback.setProgress(100 * (done + 1) / len(windows))

    def _add(self, sink: Any, segment: Any, window: Window, transform: Any) -> None:
        """A feature for each part of a segment."""
        for ring in segment.polygons or ():
            rings = [to_map(corners, window, transform) for corners in (ring.exterior, *ring.holes)]
            feature = QgsFeature()
            feature.setGeometry(QgsGeometry.fromWkt(to_wkt(rings)))
            feature.setAttributes([segment.label, segment.score, segment.area])
            sink.addFeature(feature, QgsFeatureSink.FastInsert)


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
