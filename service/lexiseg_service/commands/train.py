"""`lexiseg train`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer
import yaml

from lexiseg_model.training.checkpoints.same import is_begun
from lexiseg_model.training.recipes.read import Planned, read_recipe
from lexiseg_model.training.recipes.registry import recipes

MIB = 2**20


def list_recipes() -> int:
    """Every recipe with what its file says it is."""
    known = recipes()
    width = max(len(name) for name in known)
    for name, file in known.items():
        typer.echo(f"{name:{width}}  {file.summary}")
    typer.echo("\nlexiseg train NAME KEY=VALUE ...   docs/training.md says more")
    return 0


def run(name: str, overrides: Sequence[str]) -> int:
    """Trains by a recipe and says where the weights are."""
    planned = read_recipe(name, overrides)
    training, recipe = planned.training, planned.recipe
    _say(_outline(planned))
    if (lack := training.lacks(recipe)) is not None:
        typer.echo(f"lexiseg: {lack}", err=True)
        return 1
    if is_begun(recipe):
        _say(f"there is a run in {recipe.out}: it goes on")
    _say("loading: torch, the start, texts and data")
    trainer = training.trainer(recipe)
    _say("training")
    weights = trainer.train()
    if weights is None:
        if trainer.ending:
            typer.echo(trainer.ending)
        return 0
    if not recipe.data.exists():
        typer.echo(f"weights are at {weights}; there is no data at {recipe.data} to measure them on")
        return 0
    _say("weights are there; measuring")
    card = training.publish(recipe, weights)
    if card is None:
        typer.echo(f"weights are at {weights}, for other recipes to begin with; they serve nothing by themselves")
        return 0
    typer.echo(
        f"model directory: {weights.parent}\n"
        f"serve it: LEXISEG_MODELS_DIR={weights.parent.parent} lexiseg serve --model {card.name}"
    )
    return 0


def plan(name: str, overrides: Sequence[str]) -> int:
    """Says what `run` would do: all values, what is trained, what memory and time it takes here."""
    planned = read_recipe(name, overrides)
    training, recipe = planned.training, planned.recipe
    _say(yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True).rstrip())
    _say(f"\n{_outline(planned)}")
    if is_begun(recipe):
        _say(f"there is a run in {recipe.out}: it would go on")
    from lexiseg_model.training.recipes.estimate import Size, measure, total_seconds

    size = Size.of(training.network(recipe))
    _say(f"parameters: {size.parameters:,}, of which {size.trained:,} are trained")
    _say(f"state: {size.state_bytes / MIB:,.0f} MiB for weights, their average, gradients and optimiser")
    if (lack := training.lacks(recipe)) is not None:
        _say(f"it could not begin, so nothing is measured: {lack}")
        return 0
    _say("measuring some batches; data that has to be made ready is, and is kept")
    measured = []
    for entry in measure(training, recipe):
        measured.append(entry)
        place = f"batches of {entry.phase.batch} at {entry.phase.crop} pixels, from {entry.phase.after:.0%} on"
        _say(f"{place}: {entry.seconds:.2f} s each; memory in use: {entry.peak_bytes / MIB:,.0f} MiB")
    if recipe.steps is not None:
        minutes = total_seconds(measured, recipe.steps, recipe.accumulation) / 60
        _say(f"time: about {minutes:,.1f} minutes here, without what is measured at the end")
    return 0


def _outline(planned: Planned) -> str:
    """One line, before anything heavy is loaded."""
    recipe = planned.recipe
    return f"{planned.name}: {recipe.length} from {planned.training.start(recipe)}; out: {recipe.out}"


def _say(line: str) -> None:
    typer.echo(line)
    sys.stdout.flush()
