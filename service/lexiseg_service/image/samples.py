"""Sample photographs of a free licence, from the installed package scikit-learn."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from lexiseg_service.errors import ServiceError

FOLDER = "datasets/images"  # inside scikit-learn; its README.txt names authors and licence
LICENCE = "CC BY 2.0, https://creativecommons.org/licenses/by/2.0/"
AUTHORS = {"china.jpg": "danielbuechele (Flickr)", "flower.jpg": "vultilion (Flickr)"}


class NoSample(ServiceError):
    """The photograph is not available."""


def photograph(name: str) -> bytes:
    """The JPEG file of a sample photograph.

    Raises:
        NoSample: there is no such photograph, or scikit-learn is not installed.
    """
    if name not in AUTHORS:
        raise NoSample(f"{name}: no such photograph; there is: {', '.join(AUTHORS)}")
    package = find_spec("sklearn")  # located, not imported
    if package is None or package.origin is None:
        raise NoSample('the photographs come with scikit-learn, which is not installed: pip install "lexiseg[sample]"')
    return (Path(package.origin).parent / FOLDER / name).read_bytes()
