"""`lexiseg models list`: a table, or the cards as JSON."""

from __future__ import annotations

import json

import typer
from rich.console import Console
from rich.table import Column, Table

from lexiseg_model import catalogue
from lexiseg_model.catalogue.method import methods
from lexiseg_model.types import ModelCard, ModelName
from lexiseg_service.settings import Settings


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


def _weights(card: ModelCard) -> str:
    if card.weights_sha256 is not None:
        return "here"
    method = methods().get(card.method)
    return "to be had" if method is None or method.weights_published else "unpublished"
