"""Which client this is: its version, and how it names itself to servers."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("lexiseg-client", "lexiseg")  # by itself, or inside the service


def _version() -> str:
    for package in PACKAGES:
        try:
            return version(package)
        except PackageNotFoundError:
            continue
    return "0+unknown"  # a tree that was never installed


__version__ = _version()
USER_AGENT = f"lexiseg-client/{__version__} python/{platform.python_version()}"
