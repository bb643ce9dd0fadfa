"""QGIS plug-in: the processing provider `lexiseg`."""

from typing import Any


def classFactory(iface: Any) -> Any:
    """The plug-in; `iface` is None in qgis_process."""
    from .provider import Plugin

    return Plugin()
