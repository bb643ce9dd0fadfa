"""Modules that libraries import when they first need them, imported before the first request.

An import opens files: with every descriptor taken by connections it fails, and with it the request that came first.
"""

from __future__ import annotations

from importlib import import_module

from PIL import Image

NEEDED_LATER = (
    "anyio._backends._asyncio",  # Starlette, of what it does in a thread
    "anyio._core._fileio",  # of a file that it sends
    "importlib.readers",  # of our own files
    "numpy.ma",  # of its functions over sets
)


def import_early() -> None:
    """Imports them, and the readers of pictures."""
    for name in NEEDED_LATER:
        import_module(name)
    Image.init()
