"""`lexiseg models list` and `lexiseg models available`: tables, or JSON."""

from __future__ import annotations

import json
import typer
from rich.console import Console
from rich.table import Column, Table
from lexiseg_model import catalogue
from lexiseg_model.available import AvailableModel, available
from lexiseg_model.catalogue.method import methods
from lexiseg_model.types import ModelCard, ModelName
from lexiseg_service.settings import Settings
import os
import uuid
from pathlib import Path
from lexiseg_model.errors import OptionError, UnknownModelError
from lexiseg_model.types import ModelName

def list_all(settings: Settings) -> None:
    """Print a line for each model, and below the table each model's whole licence."""
    table = Table(
        Column("model", no_wrap=True), Column("weights", no_wrap=True), "tasks", "input", "mIoU", "commercial use"
    )
    cards = catalogue.cards(settings.models_dir)
    for card in cards:
        quality = ", ".join(f"{name} {measured.miou:.1f}" for name, measured in card.quality.items())
        shape = f"{card.input.short_side}-{card.input.long_side} px"
        name = str(ModelName.of(card))
        table.add_row(name, _weights(card), ", ".join(card.tasks), shape, quality, card.commercial_use)
    Console().print(table)
    typer.echo("\nLicences:")
    for card in cards:
        typer.echo(f"  {ModelName.of(card)}: {card.licence}")


def list_json(settings: Settings) -> None:
    """Print the cards, with the state of their weights in the field `weights`."""
    cards = [
        {**card.model_dump(mode="json"), "weights": _weights(card)} for card in catalogue.cards(settings.models_dir)
    ]
    typer.echo(json.dumps(cards, indent=1))


def list_available() -> None:
    """Print a paragraph for each model that can be served: a table of so many columns fits no terminal."""
    for model in available().values():
        typer.echo(f"{model.name}: {model.backbone}")
        for field, value in _details(model).items():
            typer.echo(f"  {field:<15} {value}")
        typer.echo()


def available_json() -> None:
    """Print the list as the REST route answers it."""
    models = [model.model_dump(mode="json") for model in available().values()]
    typer.echo(json.dumps({"models": models}, indent=1))


def _details(model: AvailableModel) -> dict[str, str]:
    figures = ", ".join(f"{name} {miou:.1f}" for name, miou in model.figures.items())
    sizes = f"{model.download_mb:,} MB to download, {model.memory_mb:,} MB in memory"
    return {
        "hub": model.hub or "-",
        "size": sizes,
        "commercial use": model.commercial_use,
        "licence": model.licence,
        "mIoU": f"{figures or 'not published'} ({model.source})",
        "command": model.command,
    }


def _weights(card: ModelCard) -> str:
    if card.weights_sha256 is not None:
        return "here"
    method = methods().get(card.method)
    return "to be had" if method is None or method.weights_published else "unpublished"


def use(name: str, settings: Settings) -> None:
    """Let NAME be NAME@VERSION.

    Raises:
        OptionError: there is no folder of models, or no version in the name.
        UnknownModelError: there is no such directory.
        WeightsError: it is no model directory, or lacks its weights.
    """
    models_dir = _models_dir(settings)
    wanted = ModelName.parse(name)
    if wanted.version is None:
        raise OptionError(f"{name} names no version; expected NAME@VERSION, as tcl@2")
    if not (models_dir / name).is_dir():
        raise UnknownModelError(f"no model directory {models_dir / name}")
    catalogue.require(name, models_dir, settings.text_tower)
    before = _current(models_dir, wanted.name)
    _link(models_dir, wanted.name, name)
    if before is not None and before != name:
        _note(models_dir, wanted.name).write_text(f"{before}\n", encoding="utf-8")
    typer.echo(f"{wanted.name} is {name}" + (f", and was {before}" if before else ""))


def back(name: str, settings: Settings) -> None:
    """Let NAME be the version before.

    Raises:
        OptionError: no version before is known.
    """
    models_dir = _models_dir(settings)
    note = _note(models_dir, ModelName.parse(name).name)
    if not note.is_file():
        raise OptionError(f"{models_dir / name} was no other version before")
    use(note.read_text(encoding="utf-8").strip(), settings)


def _models_dir(settings: Settings) -> Path:
    if settings.models_dir is None:
        raise OptionError("no folder of models: set LEXISEG_MODELS_DIR, or name one with --models-dir")
    return settings.models_dir


def _note(models_dir: Path, name: str) -> Path:
    """The file that keeps the version before."""
    return models_dir / f".{name}.before"


def _current(models_dir: Path, name: str) -> str | None:
    """The directory that NAME links to; a plain directory is renamed to NAME@VERSION first."""
    place = models_dir / name
    if place.is_symlink():
        return os.readlink(place)
    if not place.exists():
        return None
    own = str(ModelName(name, catalogue.read_card(place).version))
    if (models_dir / own).exists():
        raise OptionError(f"{place} is a directory, and {own} is there as well: remove or rename one of them")
    os.rename(place, models_dir / own)
    return own


def _link(models_dir: Path, name: str, to: str) -> None:
    fresh = models_dir / f".{name}.{uuid.uuid4().hex}"
    os.symlink(to, fresh)
    os.replace(fresh, models_dir / name)
