"""`lexiseg models`."""

from __future__ import annotations

import json

import typer
from rich.console import Console
from rich.table import Column, Table

from lexiseg_model import catalog
from lexiseg_model.model_name import ModelName
from lexiseg_service.settings import Settings


def list_all(settings: Settings) -> None:
    """Prints a line for each model that can be loaded."""
    table = Table(Column("model", no_wrap=True), "weights", "tasks", "input", "mIoU", "licence")
    for card in catalog.cards(settings.models_dir):
        quality = ", ".join(f"{name} {measured.miou:.1f}" for name, measured in card.quality.items())
        shape = f"{card.input.short_side}-{card.input.long_side} px"
        weights = "to be had" if card.weights_sha256 is None else "here"
        licence = card.licence.partition(":")[0]
        table.add_row(str(ModelName.of(card)), weights, ", ".join(card.tasks), shape, quality, licence)
    Console().print(table)


def list_json(settings: Settings) -> None:
    """Prints the cards, with `weights`: whether they are here or to be had."""
    cards = [
        {**card.model_dump(mode="json"), "weights": "to be had" if card.weights_sha256 is None else "here"}
        for card in catalog.cards(settings.models_dir)
    ]
    typer.echo(json.dumps(cards, indent=1))
