"""`lexiseg sample`: a photograph to try things on, copied out of an installed package."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from lexiseg_service.errors import ServiceError

FOLDER = "datasets/images"  # inside scikit-learn; its README.txt names authors and licence
LICENCE = "CC BY 2.0, https://creativecommons.org/licenses/by/2.0/"
AUTHORS = {"china.jpg": "danielbuechele (Flickr)", "flower.jpg": "vultilion (Flickr)"}


class NoSample(ServiceError):
    """A photograph that cannot be copied."""


def sample(
    names: Annotated[list[str] | None, typer.Argument(metavar="[china.jpg] [flower.jpg]", show_default=False)] = None,
) -> None:
    """Copy a photograph to try things on into this folder: china.jpg, a pagoda by a lake, or flower.jpg.

    They come out of scikit-learn, which `make serve` installs.

    Example:  lexiseg sample && lexiseg segment china.jpg -c sky -c building -c trees
    """
    for name in names or ["china.jpg"]:
        content = _content(name)
        try:
            with Path(name).open("xb") as file:
                file.write(content)
        except FileExistsError:
            if Path(name).read_bytes() != content:
                raise NoSample(f"{Path(name).resolve()} is there already, and is another picture") from None
        typer.echo(f"{name}: photograph by {AUTHORS[name]}, {LICENCE}")


def _content(name: str) -> bytes:
    if name not in AUTHORS:
        raise NoSample(f"{name}: no such photograph; there is: {', '.join(AUTHORS)}")
    package = find_spec("sklearn")  # found, not imported: only its file is wanted
    if package is None or package.origin is None:
        raise NoSample("the photographs come with scikit-learn, which is not installed: pip install scikit-learn")
    return (Path(package.origin).parent / FOLDER / name).read_bytes()
