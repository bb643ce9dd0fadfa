"""`lexiseg rollout ...`: which share of those who name no version gets a new one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lexiseg_model.model_name import ModelName
from lexiseg_service.errors import InvalidValue
from lexiseg_service.gateway.rollouts import By, Rollout, read_rollouts, write_rollouts

File = Annotated[
    Path, typer.Option("--file", envvar="LEXISEG_ROLLOUTS_FILE", help="What gateways have as LEXISEG_ROLLOUTS_FILE")
]

rollout = typer.Typer(
    help="Versions of a model side by side: who gets which.", no_args_is_help=True, rich_markup_mode=None
)


@rollout.command("set")
def set_share(
    model: Annotated[str, typer.Argument(metavar="NAME@VERSION", help="The new version")],
    percent: Annotated[float, typer.Argument(min=0, max=100, help="Share of those who name no version")],
    file: File,
    by: Annotated[
        By | None, typer.Option(help="Shares of keys (or addresses) or of images [default: as it is, else key]")
    ] = None,
) -> None:
    """Give a share to a version; gateways see it within two seconds. Whoever is in a share stays in as it grows.

    Examples:

      lexiseg rollout set tcl@2 5 --file rollouts.txt

      lexiseg rollout set tcl@2 100 --file rollouts.txt
    """
    name = ModelName.parse(model)
    if name.version is None:
        raise InvalidValue.of("NAME@VERSION", model, "a version, as tcl@2")
    rollouts = _read(file)
    before = rollouts.get(name.name)
    rollouts[name.name] = Rollout(name, percent, by or (before.by if before is not None else "key"))
    write_rollouts(file, rollouts)
    typer.echo(str(rollouts[name.name]))


@rollout.command("back")
def back(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The model")],
    file: File,
) -> None:
    """Give everybody the version of before.

    Example:  lexiseg rollout back tcl --file rollouts.txt
    """
    rollouts = _read(file)
    gone = rollouts.pop(ModelName.parse(name).name, None)
    if gone is None:
        raise InvalidValue.of("NAME", name, f"one of {', '.join(rollouts) or 'none: no rollout goes on'}")
    write_rollouts(file, rollouts)
    typer.echo(f"nobody gets {gone.model} without naming it")


@rollout.command("show")
def show(file: File) -> None:
    """Say what goes on.

    Example:  lexiseg rollout show --file rollouts.txt
    """
    for line in _read(file).values():
        typer.echo(str(line))


def _read(file: Path) -> dict[str, Rollout]:
    return read_rollouts(file.read_text("utf-8")) if file.exists() else {}
