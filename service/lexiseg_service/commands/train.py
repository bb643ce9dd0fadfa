"""`lexiseg train`."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

import typer
import yaml

from lexiseg_model.errors import DatasetError
from lexiseg_model.training.checkpoints.same import is_begun
from lexiseg_model.training.recipes.below import finish, train_first, trained_first
from lexiseg_model.training.recipes.read import Planned, read_recipe
from lexiseg_model.training.recipes.registry import recipes

if TYPE_CHECKING:
    from lexiseg_model.training.recipes.estimate import Size

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
    """Trains by a recipe, and before that what it stands on; says where the weights are."""
    with _ending():
        return _run(read_recipe(name, overrides))


@contextmanager
def _ending() -> Iterator[None]:
    """Outside of its steps a run has nothing to save: SIGTERM and Ctrl-C end it while it loads or measures, with 0."""

    def end(number: int, frame: FrameType | None) -> None:
        typer.echo(f"{signal.Signals(number).name}; start it again to go on")
        raise SystemExit(0)

    if threading.current_thread() is not threading.main_thread():  # no other may set handlers
        yield
        return
    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _run(planned: Planned) -> int:
    training, recipe = planned.training, planned.recipe
    _outline(planned)
    if (lack := training.lacks(recipe)) is not None:
        typer.echo(f"lexiseg: {lack}", err=True)
        return 1
    if is_begun(recipe):
        _say(f"there is a run in {recipe.out}: it goes on")
    _say("loading: torch, the start, texts and data")
    if ending := train_first(planned):
        typer.echo(ending)
        return 0
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
    model = finish(planned, weights)
    if model is None:
        typer.echo(f"weights are at {weights}, for other recipes to begin with; they serve nothing by themselves")
        return 0
    typer.echo(
        f"model directory: {weights.parent}\n"
        f"serve it: LEXISEG_MODELS_DIR={weights.parent.parent} lexiseg serve --model {model}"
    )
    return 0


def plan(name: str, overrides: Sequence[str]) -> int:
    """Says what `run` would do: all values, what is trained, what memory and time it takes here."""
    planned = read_recipe(name, overrides)
    training, recipe = planned.training, planned.recipe
    _say(yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True).rstrip() + "\n")
    _outline(planned)
    if is_begun(recipe):
        _say(f"there is a run in {recipe.out}: it would go on")
    lack = training.lacks(recipe)
    if (size := _size(planned, lack)) is not None:
        _say(f"parameters: {size.parameters:,}, of which {size.trained:,} are trained")
        _say(f"state: {size.state_bytes / MIB:,.0f} MiB for weights, their average, gradients and optimiser")
    if lack is not None:
        _say(f"it could not begin, so nothing is measured: {lack}")
        return 0
    _say("measuring some batches")
    several = [*trained_first(planned), planned]
    minutes = [_minutes(each, f"{each.name}: " if len(several) > 1 else "") for each in several]
    if None not in minutes:
        total = sum(each for each in minutes if each is not None)
        _say(f"time: about {total:,.1f} minutes here, without what is measured at the end")
    return 0


def _size(planned: Planned, lack: str | None) -> Size | None:
    """Of what is trained; None where that cannot be known without the data that is lacking."""
    from lexiseg_model.training.recipes.estimate import Size

    try:
        return Size.of(planned.training.network(planned.recipe))
    except DatasetError:
        if lack is None:
            raise
        return None


def _minutes(planned: Planned, prefix: str) -> float | None:
    """Measures batches, and says what they take; None where the recipe does not count in steps."""
    from lexiseg_model.training.recipes.estimate import measure, rehearsed, total_seconds

    recipe, measured = planned.recipe, []
    with rehearsed(planned.training, recipe) as rehearsal:
        if rehearsal.before:
            _say(f"{prefix}before the first step {rehearsal.before}")
        for entry in measure(rehearsal, recipe):
            measured.append(entry)
            place = f"batches of {entry.phase.batch} at {entry.phase.crop} pixels, from {entry.phase.after:.0%} on"
            _say(f"{prefix}{place}: {entry.seconds:.2f} s each; memory in use: {entry.peak_bytes / MIB:,.0f} MiB")
    if recipe.steps is None:
        return None
    return (rehearsal.seconds + total_seconds(measured, recipe.steps, recipe.accumulation)) / 60


def _outline(planned: Planned) -> None:
    """What is trained from what, before anything heavy is loaded."""
    _say(_line(planned))
    for first in trained_first(planned):
        _say(f"before it, {_line(first)}")


def _line(planned: Planned) -> str:
    recipe = planned.recipe
    return f"{planned.name}: {recipe.length} from {planned.training.start(recipe)}; out: {recipe.out}"


def _say(line: str) -> None:
    typer.echo(line)
    sys.stdout.flush()
