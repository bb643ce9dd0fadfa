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


def list_all(settings: Settings) -> None:
    """Print a table with a row for each model, and below it the full licences."""
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
    """Print a paragraph for each model that can be served: a table would be too wide for a terminal."""
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
    figures = ", ".join(f"{name} {figure:.1f}" for name, figure in model.figures.items())
    sizes = f"{model.download_mb:,} MB to download, {model.memory_mb:,} MB in memory"
    return {
        "hub": model.hub or "-",
        "size": sizes,
        "commercial use": model.commercial_use,
        "licence": model.licence,
        "figures": f"{figures or 'not published'} ({model.source})",
        "command": model.command,
    }


def _weights(card: ModelCard) -> str:
    if card.weights_sha256 is not None:
        return "here"
    method = methods().get(card.method)
    return "to be had" if method is None or method.weights_published else "unpublished"
