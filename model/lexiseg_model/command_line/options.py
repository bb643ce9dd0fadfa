"""Options that several commands take, files and folders that they write, and the help of a command in groups."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from lexiseg_model.files.names import to_utf8

STDOUT = "-"


def output_file(path: Path | None) -> Path | None:
    """Callback of an option: the file can be written, or it is - for the standard output."""
    if path is not None and path.is_dir():
        raise typer.BadParameter(f"expected a file, got the folder {path}")
    return _writable(path)


def output_folder(path: Path | None) -> Path | None:
    """Callback of an option: the folder can be written or made, or it is - for the standard output."""
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


MAIN = "Main options"  # title of the first group in a command's help
Server = Annotated[
    str | None,
    typer.Option(metavar="URL|HOST:PORT", help="Ask a server over REST or gRPC (heads: REST); no model is loaded here"),
]
JsonReport = Annotated[Path | None, typer.Option(help="Also write the figures here", callback=output_file)]
Classes = Annotated[list[str] | None, typer.Option("-c", "--class", help="A class to look for; repeat it")]
VocabularyName = Annotated[str | None, typer.Option("--vocabulary", help="A named class list instead, as `ade20k`")]
Background = Annotated[
    bool | None,
    typer.Option(help="Leave pixels without a class where none fits [default: yes, or the vocabulary's own]"),
]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Print failures and warnings only")]


class Grouped(TyperCommand):
    """A command that shows its options in groups in its help, in plain text; its own options come before settings."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                kind = "Arguments" if parameter.param_type_name == "argument" else "Options"
                groups.setdefault(getattr(parameter, "rich_help_panel", None) or kind, []).append(record)
        for title in sorted(groups, key=lambda title: (title != MAIN, title not in ("Arguments", "Options"))):
            with formatter.section(title):
                formatter.write_dl(groups[title])


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
