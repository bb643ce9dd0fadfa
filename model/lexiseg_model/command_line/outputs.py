"""Files and folders that commands write: checked as options before a model is loaded, written at the end."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import typer

from lexiseg_model.files.names import to_utf8

STDOUT = "-"


def output_file(path: Path | None) -> Path | None:
    """Callback of an option: the file can be written, or it is - for the standard output.

    Raises:
        typer.BadParameter: it is a folder, or there is no place to write it.
    """
    if path is not None and path.is_dir():
        raise typer.BadParameter(f"expected a file, got the folder {path}")
    return _writable(path)


def output_folder(path: Path | None) -> Path | None:
    """Callback of an option: the folder can be written or made, or it is - for the standard output.

    Raises:
        typer.BadParameter: it is a file, or there is no place to make it.
    """
    if path is not None and path.exists() and not path.is_dir():
        raise typer.BadParameter(f"expected a folder, got the file {path}")
    return _writable(path)


def _writable(path: Path | None) -> Path | None:
    if path is None or str(path) == STDOUT:
        return path
    nearest = next(place for place in (path, *path.absolute().parents) if place.exists())
    if nearest != path and not nearest.is_dir():
        raise typer.BadParameter(f"{path} cannot be made: {nearest} is a file")
    if not os.access(nearest, os.W_OK):
        raise typer.BadParameter(f"{path} cannot be written: no permission to write in {nearest}")
    return path


def write_text(path: Path | None, text: str) -> None:
    """Write a text to a file, with the folders above it, or to the standard output (-); None writes nothing."""
    if str(path) == STDOUT:
        typer.echo(text, nl=False)
    elif path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(to_utf8(text))


def write_json(path: Path | None, figures: Any) -> None:
    """Write figures as JSON, as `write_text` does."""
    write_text(path, json.dumps(figures, indent=1, ensure_ascii=False) + "\n")
