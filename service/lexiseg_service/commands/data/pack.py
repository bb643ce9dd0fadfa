"""`lexiseg data pack`."""

from __future__ import annotations

from pathlib import Path

import typer

from lexiseg_model.data.packing.pack import QUARANTINE, PackOptions, pack_pairs
from lexiseg_model.data.pairs.open import open_pairs
from lexiseg_service.commands.bar import bar_of


def run(sources: list[Path], target: Path, options: PackOptions) -> None:
    """Writes shards and says what was left out."""
    pairs = open_pairs(*sources)
    with bar_of(str(target)) as bar:
        bar.expect(sum(pairs.sizes))
        origin = ", ".join(str(path.resolve()) for path in sources)
        packed = pack_pairs(pairs, origin, target, options, bar.step)
    earlier = f", {packed.earlier:,} of the source's pairs were done before" * bool(packed.earlier)
    typer.echo(f"{target}: {packed.pairs:,} pairs in {packed.shards:,} shards{earlier}")
    if packed.broken:
        typer.echo(f"{len(packed.broken):,} are broken and lie in {target / QUARANTINE}, each with its reason; such as")
        for skipped in packed.broken[:3]:
            typer.echo(f"  {skipped.name}: {skipped.reason}")
