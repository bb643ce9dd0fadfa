"""`lexiseg rollout ...`: the share of requests without a version that gets a new version of a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lexiseg_model.types import ModelName
from lexiseg_service.errors import InvalidValue
from lexiseg_service.fleet.rollouts import By, Rollout, read_rollouts, write_rollouts

File = Annotated[
    Path, typer.Option("--file", envvar="LEXISEG_ROLLOUTS_FILE", help="What gateways have as LEXISEG_ROLLOUTS_FILE")
]

rollout = typer.Typer(
    help="Shares of the requests for versions of a model.", no_args_is_help=True, rich_markup_mode=None
)


@rollout.command("set")
def set_share(
    model: Annotated[str, typer.Argument(metavar="NAME@VERSION", help="The new version")],
    percent: Annotated[float, typer.Argument(min=0, max=100, help="Share of the requests that name no version")],
    file: File,
    by: Annotated[
        By | None, typer.Option(help="Shares of keys (or addresses) or of images [default: as it is, else key]")
    ] = None,
) -> None:
    """Give a share to a version; gateways see it within two seconds. A key in the share stays in it as it grows.

    The other requests keep what they had: the version that workers list first, or the one that had 100 % before.

    Examples:

      lexiseg rollout set tcl@2 5 --file rollouts.txt

      lexiseg rollout set tcl@2 100 --file rollouts.txt
    """
    name = ModelName.parse(model)
    if name.version is None:
        raise InvalidValue.of("NAME@VERSION", model, "a version, as tcl@2")
    rollouts = _read(file)
    rollouts[name.name] = _changed(rollouts.get(name.name), name, percent, by)
    write_rollouts(file, rollouts)
    typer.echo(str(rollouts[name.name]))


def _changed(now: Rollout | None, name: ModelName, percent: float, by: By | None) -> Rollout:
    if now is None:
        return Rollout(name, percent, by or "key")
    if now.model == name:
        return Rollout(name, percent, by or now.by, now.before)
    if 0 < now.percent < 100:
        raise InvalidValue.of(
            "NAME@VERSION", str(name), f"{now.model}, which has {now.percent:g} % now: give it 0 or 100 first"
        )
    return Rollout(name, percent, by or now.by, now.model if now.percent else now.before)


@rollout.command("back")
def back(name: Annotated[str, typer.Argument(metavar="NAME", help="The model")], file: File) -> None:
    """Give all requests the version of before.

    Example:  lexiseg rollout back tcl --file rollouts.txt
    """
    rollouts = _read(file)
    removed = rollouts.pop(ModelName.parse(name).name, None)
    if removed is None:
        expected = f"one of {', '.join(rollouts)}" if rollouts else f"a model with a rollout; {file} has none"
        raise InvalidValue.of("NAME", name, expected)
    if removed.before is not None:
        rollouts[removed.model.name] = Rollout(removed.before, 100, removed.by)
    write_rollouts(file, rollouts)
    now = removed.before or "the version that workers list first"
    typer.echo(f"requests that name no version get {now}; {removed.model} is still there for those that name it")


@rollout.command("show")
def show(file: File) -> None:
    """Show the rollouts.

    Example:  lexiseg rollout show --file rollouts.txt
    """
    rollouts = _read(file)
    for line in rollouts.values():
        typer.echo(str(line))
    if not rollouts:
        typer.echo(f"lexiseg: no rollout in {file}", err=True)


def _read(file: Path) -> dict[str, Rollout]:
    return read_rollouts(file.read_text("utf-8")) if file.exists() else {}
