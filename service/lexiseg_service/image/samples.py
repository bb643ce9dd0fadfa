"""Sample photographs of a free licence, from the installed packages scikit-image and scikit-learn."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

from lexiseg_service.errors import ServiceError

CC_BY = "CC BY 2.0, https://creativecommons.org/licenses/by/2.0/"
PUBLIC = "public domain"
QUALITY = 92  # of the JPEG of a PNG


class Sample(NamedTuple):
    """A photograph inside an installed package, which names its author and licence."""

    package: str
    path: str
    author: str
    licence: str


SAMPLES = {
    "china.jpg": Sample("sklearn", "datasets/images/china.jpg", "danielbuechele (Flickr)", CC_BY),
    "flower.jpg": Sample("sklearn", "datasets/images/flower.jpg", "vultilion (Flickr)", CC_BY),
    "cat.jpg": Sample("skimage", "data/chelsea.png", "Stefan van der Walt", "CC0"),
    "coins.jpg": Sample("skimage", "data/coins.png", "the Brooklyn Museum", "no known copyright restrictions"),
    "cup.jpg": Sample("skimage", "data/coffee.png", "Rachel Michetti", "CC0"),
    "astronaut.jpg": Sample("skimage", "data/astronaut.png", "NASA", PUBLIC),
    "rocket.jpg": Sample("skimage", "data/rocket.jpg", "SpaceX", PUBLIC),
}


class NoSample(ServiceError):
    """The photograph is not available."""


def photograph(name: str) -> bytes:
    """The JPEG file of a sample photograph. Raises NoSample: there is none, or its package is not installed."""
    if name not in SAMPLES:
        raise NoSample(f"{name}: no such photograph; there is: {', '.join(SAMPLES)}")
    sample = SAMPLES[name]
    package = find_spec(sample.package)  # located, not imported
    if package is None or package.origin is None:
        raise NoSample(f'{name} comes with {sample.package}, which is not installed: pip install "lexiseg[sample]"')
    file = Path(package.origin).parent / sample.path
    return file.read_bytes() if file.suffix == ".jpg" else _as_jpeg(file)


@cache
def _as_jpeg(file: Path) -> bytes:
    from PIL import Image  # not at every start of the command line

    content = BytesIO()
    with Image.open(file) as picture:
        picture.convert("RGB").save(content, "JPEG", quality=QUALITY)
    return content.getvalue()
