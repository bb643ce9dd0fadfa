"""`lexiseg models ...`: what can be served, and how weights get here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

models = typer.Typer(help="Models that can be served.", no_args_is_help=True, rich_markup_mode=None)

ModelsDir = Annotated[Path | None, typer.Option(help="Folder of model directories [env: LEXISEG_MODELS_DIR]")]


@models.command("list")
def list_models(models_dir: ModelsDir = None) -> None:
    """List the models there are, with their measured quality and whether their weights are here.

    Those "to be had" come from the hub, or are imported first: `lexiseg serve --model NAME` says how.

    Example:  lexiseg models list
    """
    from lexiseg_service.commands.models.listing import list_all
    from lexiseg_service.commands.options import settings_of

    list_all(settings_of({"models_dir": models_dir}))


@models.command(
    "import",
    # All of it goes to a command that is made of what the methods take.
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
)
def import_model(context: typer.Context) -> None:
    """Convert a checkpoint of its authors or of a training into a model directory, once."""
    from lexiseg_service.commands.models.importing import command

    command()(context.args, prog_name=context.command_path)
