"""`lexiseg sample`: a sample photograph, copied out of an installed package."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lexiseg_service.image.samples import SAMPLES, NoSample, photograph


def sample(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", show_default=False)] = None,
) -> None:
    """Copy a sample photograph into this folder: china.jpg, a pagoda by a lake, or flower, cat, cup,
    astronaut or rocket.jpg.

    `china` and `flower` are part of scikit-learn, which `make serve` installs, the others of scikit-image.

    Example:  lexiseg sample && lexiseg segment china.jpg -c sky -c building -c trees
    """
    for name in names or ["china.jpg"]:
        content = photograph(name)
        try:
            with Path(name).open("xb") as file:
                file.write(content)
        except FileExistsError:
            if Path(name).read_bytes() != content:
                raise NoSample(f"{Path(name).resolve()} is there already, and is another picture") from None
        typer.echo(f"{name}: photograph by {SAMPLES[name].author}, {SAMPLES[name].licence}")
