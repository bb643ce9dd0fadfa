"""`lexiseg data prepare`."""

from __future__ import annotations

from pathlib import Path

import typer

from lexiseg_model.data.preparing.official import official_set
from lexiseg_model.data.preparing.prepare import prepare
from lexiseg_service.commands.bar import bar_of


def run(name: str, source: Path, target: Path, own: bool) -> None:
    """Lays out a set and says what is where, and what is not."""
    total = 0
    with bar_of(name) as bar:

        def expect(count: int) -> None:
            nonlocal total
            total += count
            bar.expect(total)

        prepared = prepare(
            official_set(name),
            source,
            target,
            own,
            lambda archive: typer.echo(f"unpacking {archive} ...", err=True),
            expect,
            bar.step,
        )
    held = ", ".join(f"{split} {count:,}" for split, count in prepared.splits.items())
    typer.echo(f"{prepared.folder}: {held}")
    for split, reason in prepared.missing.items():
        typer.echo(f"{split} is not whole: {reason}" if own else f"{split} is not there: {reason}", err=True)
    for skipped in prepared.skipped[:3]:
        typer.echo(f"left out: {skipped.name}: {skipped.reason}", err=True)
    if len(prepared.skipped) > 3:
        typer.echo(f"and {len(prepared.skipped) - 3:,} more", err=True)
