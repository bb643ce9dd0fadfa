"""`lexiseg models ...`: what can be served, and how weights get here."""

from __future__ import annotations

import typer

from lexiseg_service.commands.options import Chosen, takes_settings
from lexiseg_service.commands.signature import Grouped

models = typer.Typer(help="Models that can be served.", no_args_is_help=True, rich_markup_mode=None)


@models.command("list", cls=Grouped)
@takes_settings("models")
def list_models(chosen: Chosen) -> None:
    """List the models there are, with their measured quality and whether their weights are here.

    Those "to be had" come from the hub, or are imported first: `lexiseg serve --model NAME` says how.

    Example:  lexiseg models list
    """
    from lexiseg_service.commands.models.listing import list_all

    list_all(chosen.settings)


@models.command(
    "import",
    # All of it goes to a command that is made of what the methods take.
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
)
def import_model(context: typer.Context) -> None:
    """Convert a checkpoint of its authors or of a training into a model directory, once."""
    from lexiseg_service.commands.models.importing import command

    command()(context.args, prog_name=context.command_path)
