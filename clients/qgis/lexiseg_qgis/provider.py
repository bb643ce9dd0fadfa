"""The provider of processing algorithms, and the plug-in that adds it to QGIS."""

from __future__ import annotations

from qgis.core import QgsApplication, QgsProcessingProvider

from .segment import SegmentByWords


class Provider(QgsProcessingProvider):
    """`lexiseg:segmentbywords`."""

    def loadAlgorithms(self) -> None:
        self.addAlgorithm(SegmentByWords())

    def id(self) -> str:
        return "lexiseg"

    def name(self) -> str:
        return "lexiseg"


class Plugin:
    """Adds the provider when QGIS loads the plug-in, and removes it again."""

    def __init__(self) -> None:
        self._provider: Provider | None = None

    def initProcessing(self) -> None:
        """Called by qgis_process, which has no windows."""
        self._provider = Provider()
        QgsApplication.processingRegistry().addProvider(self._provider)

    def initGui(self) -> None:
        self.initProcessing()

    def unload(self) -> None:
        if self._provider is not None:
            QgsApplication.processingRegistry().removeProvider(self._provider)
