"""Photographs to try things on, out of an installed package: scikit-learn brings two of a free licence."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from lexiseg_service.errors import ServiceError

FOLDER = "datasets/images"  # inside scikit-learn; its README.txt names authors and licence
LICENCE = "CC BY 2.0, https://creativecommons.org/licenses/by/2.0/"
AUTHORS = {"china.jpg": "danielbuechele (Flickr)", "flower.jpg": "vultilion (Flickr)"}


class NoSample(ServiceError):
    """A photograph that cannot be had."""


def photograph(name: str) -> bytes:
    """The file.

    Raises:
        NoSample: there is no such photograph, or scikit-learn is not installed.
    """
    if name not in AUTHORS:
        raise NoSample(f"{name}: no such photograph; there is: {', '.join(AUTHORS)}")
    package = find_spec("sklearn")  # found, not imported: only its file is wanted
    if package is None or package.origin is None:
        raise NoSample("the photographs come with scikit-learn, which is not installed: pip install scikit-learn")
    return (Path(package.origin).parent / FOLDER / name).read_bytes()
