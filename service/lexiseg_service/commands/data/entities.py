"""`lexiseg data entities`."""

from __future__ import annotations

from pathlib import Path

import typer

from lexiseg_model.data.entities.describe import Endpoint
from lexiseg_model.data.entities.phrases import SPACY_MODEL, Parser, phrases_by
from lexiseg_model.data.entities.table import LISTING
from lexiseg_model.data.entities.write import from_captions, write_entities
from lexiseg_model.data.pairs.open import open_pairs
from lexiseg_service.commands.bar import bar_of


def run(source: Path, listing: Path | None, endpoint: Endpoint | None, parser: Parser, workers: int) -> None:
    """Writes the listing, beside the pairs if nothing else is said, and says what could not be done."""
    pairs = open_pairs(source)
    listing = listing or (source if source.is_dir() else source.parent) / LISTING
    describe = from_captions(phrases_by(parser, SPACY_MODEL)) if endpoint is None else endpoint.describe
    with bar_of(str(listing)) as bar:
        bar.expect(sum(pairs.sizes))
        written = write_entities(pairs, listing, describe, workers, bar.step)
    earlier = f", {written.before:,} were there before" * bool(written.before)
    typer.echo(f"{listing}: {written.new:,} pairs{earlier}")
    if written.failed:
        typer.echo(f"{written.failed:,} failed and are asked again next time: {listing}.failed says why")
