"""`lexiseg train`: its options."""

from __future__ import annotations

from typing import Annotated

import typer

from lexiseg_train.commands.program import Program

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def train(
    program: Annotated[Program, "train"],
    recipe: Annotated[str | None, typer.Argument(help="Name of a recipe, as `tiny`, or a YAML file")] = None,
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Values to change")] = None,
    listed: Annotated[bool, typer.Option("--list", help="List the recipes and exit")] = False,
    dry_run: Annotated[bool, typer.Option(help="Show the plan and exit")] = False,
    settings: Annotated[
        bool, typer.Option("--settings", help="List every setting with its value and what it says, and exit")
    ] = False,
    start: Annotated[str | None, typer.Option(help="Initial weights; the same as start=...")] = None,
    teacher: Annotated[str | None, typer.Option(help="Model or URL that labels; the same as teacher=...")] = None,
    student: Annotated[str | None, typer.Option(help="Whose network learns; the same as student=...")] = None,
) -> None:
    """Train a model by a recipe; run again, it resumes from its last checkpoint.

    Examples:

      lexiseg train --list

      lexiseg train tiny

      lexiseg train tiny data=/data/mine sets='{mine: 1.0}' start=scratch out=runs/mine

      lexiseg train tcl --settings

      lexiseg train mine.yaml steps=3000 sets.voc=0.5 --dry-run

      lexiseg train finetune --start tiny data=pictures out=runs/mine

      lexiseg train distil --teacher http://localhost:8000 --student tiny data=photographs classes='[cat, dog]'
    """
    from lexiseg_train.commands.train.run import list_recipes, list_settings, plan, run

    if listed or recipe is None:
        raise typer.Exit(list_recipes())
    named = {"start": start, "teacher": teacher, "student": student}
    values = [*(overrides or []), *(f"{key}={value}" for key, value in named.items() if value is not None)]
    if settings or dry_run:
        raise typer.Exit((list_settings if settings else plan)(recipe, values))
    raise typer.Exit(run(recipe, values, program))
