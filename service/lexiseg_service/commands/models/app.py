"""`lexiseg models ...`: what can be served, and how weights get here."""

from __future__ import annotations

import json
import os
import uuid
from pathlib import Path
from typing import Annotated

import typer

from lexiseg_model.cards import ModelCard
from lexiseg_model.command_line.options import Grouped
from lexiseg_model.errors import OptionError, UnknownModelError
from lexiseg_model.model_name import ModelName
from lexiseg_service.commands.joined import Commands
from lexiseg_service.commands.options import takes_settings
from lexiseg_service.settings import Settings

models = typer.Typer(
    cls=Commands,
    help="Models that can be served.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)


@models.command("list", cls=Grouped)
@takes_settings("models")
def list_models(
    settings: Settings,
    as_json: Annotated[bool, typer.Option("--json", help="All that the cards say, as a JSON list")] = False,
) -> None:
    """List models: where their weights are, tasks, commercial use, licences.

    Published weights come from the hub, or are imported first: `lexiseg serve --model NAME` says how. Where none were
    published you train your own. Commercial use is yes, no, or ask: then the terms are unknown.

    Example:  lexiseg models list --json
    """
    from rich.console import Console
    from rich.table import Column, Table

    from lexiseg_model.catalogue import models as catalogue

    cards = catalogue.cards(settings.models_dir)
    if as_json:
        typer.echo(
            json.dumps([{**card.model_dump(mode="json"), "weights": _weights(card)} for card in cards], indent=1)
        )
        return
    # Narrow: a table wider than the terminal cuts words. Input sizes and measured quality are in the JSON.
    columns = ("model", "weights", "tasks", "commercial use")
    table = Table(*(Column(name, no_wrap=name in columns[:2]) for name in columns))
    for card in cards:
        table.add_row(str(ModelName.from_card(card)), _weights(card), ", ".join(card.tasks), card.commercial_use)
    Console().print(table)
    typer.echo("\nLicences:")
    for card in cards:
        typer.echo(f"  {ModelName.from_card(card)}: {card.licence}")


def _weights(card: ModelCard) -> str:
    from lexiseg_model.catalogue.method import methods

    if card.weights_sha256 is not None:
        return "here"
    method = methods().get(card.method)
    return "published" if method is None or method.weights_published else "unpublished"


@models.command("available", cls=Grouped)
def list_available(
    as_json: Annotated[bool, typer.Option("--json", help="As `GET /v1/models/available` answers")] = False,
) -> None:
    """List every model that can be served: networks, hub, sizes, licence, published figures, command.

    Commercial use is yes, no, or terms: then read the licence. Memory is that of the weights.

    Example:  lexiseg models available
    """
    from lexiseg_model.catalogue.available import available  # imports yaml

    models = available().values()
    if as_json:
        typer.echo(json.dumps({"models": [model.model_dump(mode="json") for model in models]}, indent=1))
        return
    for model in models:  # paragraphs: a table would be too wide for a terminal
        figures = ", ".join(f"{name} {figure:.1f}" for name, figure in model.figures.items())
        details = {
            "hub": model.hub or "-",
            "size": f"{model.download_mb:,} MB to download, {model.memory_mb:,} MB in memory",
            "commercial use": model.commercial_use,
            "licence": model.licence,
            "figures": f"{figures or 'not published'} ({model.source})",
            "proven": f"run on the authors' weights: {model.proven}",
            "forward": f"equal to released code: {model.forward_equal} ({model.comparison})",
            "command": model.command,
            **({"further": model.further} if model.further else {}),
        }
        typer.echo(f"{model.name}: {model.backbone}")
        for field, value in details.items():
            typer.echo(f"  {field:<15} {value}")
        typer.echo()


@models.command("check", cls=Grouped)
@takes_settings("models")
def check_model(
    name: Annotated[str, typer.Argument(help="A model that `lexiseg models list` names")], settings: Settings
) -> None:
    """Load a model, compare its answer to a drawn picture with the known one, and measure its throughput.

    The weights are downloaded first where they come from the hub. Exit status 1: the answer differs.

    Example:  lexiseg models check tiny
    """
    from lexiseg_service.in_process import check_named

    check_named(settings, name)
    from lexiseg_service.commands.models.check import check

    raise typer.Exit(check(name, settings))


@models.command(
    "import",
    # All of it goes to a command that is made of what the methods take.
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
)
def import_model(context: typer.Context) -> None:
    """Convert a checkpoint of its authors or of a training into a model directory, once."""
    from lexiseg_service.commands.models.importing import command

    # Its errors are this command line's, and it may be called by another command.
    raise typer.Exit(command()(context.args, prog_name=context.command_path, standalone_mode=False) or 0)


@models.command("push", cls=Grouped)
@takes_settings("models")
def push_model(
    name: Annotated[str, typer.Argument(help="A model that `lexiseg models list` names")],
    url: Annotated[str, typer.Argument(metavar="URL", help="A folder, or an address as s3://bucket/models")],
    settings: Settings,
) -> None:
    """Copy a model directory to a folder or a store, for others to pull; only what is not there yet is sent.

    s3:// needs `pip install s3fs`; keys, region and endpoint come from AWS_* in the environment, as
    AWS_ENDPOINT_URL for a store of your own.

    Examples:

      lexiseg models push mine s3://bucket/models

      lexiseg models push mine /mnt/shared/models
    """
    from lexiseg_model.catalogue import models as catalogue
    from lexiseg_service.commands.models import exchange

    places: list[str] = []

    def tell(place: str) -> None:
        places.append(place)
        typer.echo(f"{place} ...", err=True)

    folder, pushed = catalogue.find(name, settings.models_dir).folder, ModelName.parse(name).name
    manifest = exchange.push(folder, pushed, url, tell)
    typer.echo(f"{url.rstrip('/')}/{pushed}: {len(manifest.files)} files, {len(places)} of them sent now")


@models.command("pull", cls=Grouped)
@takes_settings("models")
def pull_model(
    url: Annotated[str, typer.Argument(metavar="URL/NAME", help="What was pushed, as s3://bucket/models/mine")],
    settings: Settings,
    replace: Annotated[bool, typer.Option("--replace", help="Replace another model of that name")] = False,
    place: Annotated[
        str | None, typer.Option("--as", metavar="NAME@VERSION", help="Put it beside other versions, under this name")
    ] = None,
) -> None:
    """Fetch a model directory that was pushed; it appears when every file is there with the right digest.

    Examples:

      lexiseg models pull s3://bucket/models/mine --models-dir models/

      lexiseg models pull /mnt/shared/models/mine --models-dir models/ --as mine@2
    """
    from lexiseg_model.catalogue import models as catalogue
    from lexiseg_service.commands.models import exchange

    models_dir = _models_dir(settings, "folder to pull into")
    root, _, last = url.rstrip("/").rpartition("/")
    if not root or not last or last.startswith("."):
        raise OptionError(f"{url} names no model; expected URL/NAME, as s3://bucket/models/mine")
    target = last if place is None else str(ModelName.parse(place))
    folder = exchange.pull(root, last, models_dir, replace, lambda file: typer.echo(f"{file} ...", err=True), target)
    typer.echo(f"{folder}: sha256 {catalogue.read_card(folder).weights_sha256}")
    typer.echo(f"serve it with: LEXISEG_MODELS_DIR={models_dir} lexiseg serve --model {target}")


@models.command("use", cls=Grouped)
@takes_settings("models")
def use_model(
    name: Annotated[str, typer.Argument(metavar="NAME@VERSION", help="A directory in the folder of models")],
    settings: Settings,
) -> None:
    """Serve a version as NAME: workers that serve NAME exchange it while they go on.

    Example:  lexiseg models use tcl@2 --models-dir models/
    """
    _use(name, _models_dir(settings, "folder of models"), settings.text_tower)


@models.command("back", cls=Grouped)
@takes_settings("models")
def back_model(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A model that `lexiseg models use` has changed")],
    settings: Settings,
) -> None:
    """Serve as NAME the version that was served before.

    Example:  lexiseg models back tcl --models-dir models/
    """
    models_dir = _models_dir(settings, "folder of models")
    note = _note(models_dir, ModelName.parse(name).name)
    if not note.is_file():
        raise OptionError(f"{models_dir / name} was no other version before")
    _use(note.read_text(encoding="utf-8").strip(), models_dir, settings.text_tower)


def _models_dir(settings: Settings, purpose: str) -> Path:
    if settings.models_dir is None:
        raise OptionError(f"no {purpose}: set LEXISEG_MODELS_DIR, or name one with --models-dir")
    return settings.models_dir


def _use(name: str, models_dir: Path, text_tower: Path | None) -> None:
    """Let NAME be a link to NAME@VERSION in the same folder.

    Workers that serve NAME load the new version while the old one serves, and then swap them, without a restart.
    """
    from lexiseg_model.catalogue import models as catalogue

    version = ModelName.parse(name)
    if version.version is None:
        raise OptionError(f"{name} names no version; expected NAME@VERSION, as tcl@2")
    if not (models_dir / name).is_dir():
        raise UnknownModelError(f"no model directory {models_dir / name}")
    catalogue.require(name, models_dir, text_tower)
    before = _current(models_dir, version.name)
    fresh = models_dir / f".{version.name}.{uuid.uuid4().hex}"
    os.symlink(name, fresh)
    os.replace(fresh, models_dir / version.name)
    if before is not None and before != name:
        _note(models_dir, version.name).write_text(f"{before}\n", encoding="utf-8")
    typer.echo(f"{version.name} is {name}" + (f", and was {before}" if before else ""))


def _note(models_dir: Path, name: str) -> Path:
    """The file that keeps the version before."""
    return models_dir / f".{name}.before"


def _current(models_dir: Path, name: str) -> str | None:
    """The directory that NAME links to; a plain directory is renamed to NAME@VERSION first."""
    from lexiseg_model.catalogue import models as catalogue

    place = models_dir / name
    if place.is_symlink():
        return os.readlink(place)
    if not place.exists():
        return None
    full_name = str(ModelName(name, catalogue.read_card(place).version))
    if (models_dir / full_name).exists():
        raise OptionError(f"{place} is a directory, and {full_name} is there as well: remove or rename one of them")
    os.rename(place, models_dir / full_name)
    return full_name
