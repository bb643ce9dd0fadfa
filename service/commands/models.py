"""`lexiseg models`."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from model import catalog
from service.settings import Settings


def list_all(settings: Settings) -> None:
    """Prints a line for each model that can be loaded."""
    table = Table("model", "tasks", "input", "mIoU", "licence")
    for card in catalog.cards(settings.models_dir):
        quality = ", ".join(f"{name} {measured.miou:.1f}" for name, measured in card.quality.items())
        shape = f"{card.input.short_side}-{card.input.long_side} px"
        table.add_row(
            f"{card.name}@{card.version}", ", ".join(card.tasks), shape, quality, card.licence.partition(":")[0]
        )
    Console().print(table)
