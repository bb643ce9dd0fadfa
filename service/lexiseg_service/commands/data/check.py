"""`lexiseg data check`."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from lexiseg_model.data.checking import ERRORS, WARNINGS, Checked, check_masks, check_outlines, check_pairs, is_masked
from lexiseg_model.data.outlines import CocoInstances, OutlineSource, Sa1b
from lexiseg_model.data.pairs.files import LISTING, open_pairs
from lexiseg_model.errors import DatasetError
from lexiseg_service.commands.bar import bar_of


def run(source: Path, report: Path | None, examples: int) -> int:
    """Check one set, or each set of a folder; 1 if one cannot be used."""
    if not source.exists():
        raise DatasetError(f"{source} does not exist")
    checked = {str(path): _check(path) for path in _sets(source)}
    for name, found in checked.items():
        _print(name, found, examples)
    if report is not None:
        told = {
            name: {"photographs": found.photographs, "problems": [problem._asdict() for problem in found.problems]}
            for name, found in checked.items()
        }
        report.write_text(json.dumps(told, indent=1))
    return int(any(found.errors for found in checked.values()))


def _sets(source: Path) -> list[Path]:
    """The folder itself, or the sets in it."""
    if not source.is_dir() or is_masked(source):
        return [source]
    return [path for path in sorted(source.glob("*/")) if is_masked(path) or (path / LISTING).exists()] or [source]


def _check(path: Path) -> Checked:
    with bar_of(str(path)) as bar:
        if path.is_dir() and is_masked(path):
            return check_masks(path, bar.step, bar.expect)
        if outlined := _outlined(path):
            return check_outlines(outlined, bar.step, bar.expect)
        return check_pairs(open_pairs(path), bar.step, bar.expect)


def _outlined(path: Path) -> OutlineSource | None:
    """A JSON of COCO's instances, or SA-1B, if it is one."""
    if path.is_dir() and ((path / LISTING).exists() or any(path.glob("*.tar"))):
        return None
    try:
        return Sa1b(path) if path.is_dir() else CocoInstances(path) if path.suffix == ".json" else None
    except DatasetError:
        return None


def _print(name: str, found: Checked, examples: int) -> None:
    held = ", ".join(f"{split} {count:,}" for split, count in found.photographs.items()) or "nothing"
    typer.echo(f"{name}: {held}")
    for kind, count in found.counts():
        meaning = ERRORS.get(kind) or WARNINGS[kind]
        typer.echo(f"  {'error' if kind in ERRORS else 'look at'}: {kind}, {count:,} times: {meaning}")
        for problem in found.examples(kind, examples):
            typer.echo(f"    {problem.file}{': ' * bool(problem.detail)}{problem.detail}")
        if count > examples > 0:
            typer.echo(f"    and {count - examples:,} more")
    if not found.problems:
        typer.echo("  nothing is wrong with it")
