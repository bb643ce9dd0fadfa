"""Options that several commands take, and the help of a command in groups."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from lexiseg_model.command_line.outputs import output_file

MAIN = "Main options"  # title of the first group in a command's help
Server = Annotated[
    str | None,
    typer.Option(metavar="URL|HOST:PORT", help="Ask a running server, over REST or gRPC; no model is loaded here"),
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
