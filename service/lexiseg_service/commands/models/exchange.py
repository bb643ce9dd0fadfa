"""`lexiseg models push` and `lexiseg models pull`."""

from __future__ import annotations

import typer

from lexiseg_model import catalogue
from lexiseg_model.catalogue import exchange
from lexiseg_model.errors import OptionError
from lexiseg_model.types import ModelName
from lexiseg_service.settings import Settings


def push(name: str, url: str, settings: Settings) -> None:
    """Sends a model directory, and says what was sent."""
    folder = catalogue.find(name, settings.models_dir).folder
    sent: list[str] = []

    def tell(place: str) -> None:
        sent.append(place)
        typer.echo(f"{place} ...", err=True)

    manifest = exchange.push(folder, name.partition("@")[0], url, tell)
    typer.echo(f"{url.rstrip('/')}/{name}: {len(manifest.files)} files, {len(sent)} of them sent now")


def pull(url: str, replace: bool, settings: Settings, place: str | None = None) -> None:
    """Fetches a model directory, and says how to serve it.

    Raises:
        OptionError: there is no folder for models, or the address ends in no name.
    """
    if settings.models_dir is None:
        raise OptionError("no folder to pull into: set LEXISEG_MODELS_DIR, or name one with --models-dir")
    root, _, last = url.rstrip("/").rpartition("/")
    if not root or not last or last.startswith("."):
        raise OptionError(f"{url} names no model; expected URL/NAME, as s3://bucket/models/mine")
    place = last if place is None else str(ModelName.parse(place))
    folder = exchange.pull(
        root, last, settings.models_dir, replace, lambda file: typer.echo(f"{file} ...", err=True), place
    )
    typer.echo(f"{folder}: sha256 {catalogue.read_card(folder).weights_sha256}")
    typer.echo(f"serve it with: LEXISEG_MODELS_DIR={settings.models_dir} lexiseg serve --model {place}")
