"""`lexiseg train`."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import TYPE_CHECKING

import typer
import yaml

from lexiseg_model.command_line.signals import on_signals
from lexiseg_model.errors import DatasetError
from lexiseg_train.commands.program import Program
from lexiseg_train.training.recipe import is_begun
from lexiseg_train.training.recipes.prerequisites import finish, train_prerequisites, untrained_prerequisites
from lexiseg_train.training.recipes.read import Planned, read_recipe, recipes, settings

if TYPE_CHECKING:
    from lexiseg_train.data.labelling.model_labels import SoftLabels, Teacher

MIB = 2**20
FLOAT_BYTES = 4


def list_recipes() -> int:
    files = recipes()
    width = max(len(name) for name in files)
    for name, file in files.items():
        typer.echo(f"{name:{width}}  {file.summary}")
    typer.echo("\nlexiseg train NAME KEY=VALUE ...   more in docs/training.md")
    return 0


def list_settings(name: str, overrides: Sequence[str]) -> int:
    """List every setting of a recipe: `name=value` as an override has it, and what it says."""
    for setting in settings(read_recipe(name, overrides).recipe):
        value = yaml.safe_dump(setting.value, default_flow_style=True, width=10**6).removesuffix("...\n").rstrip()
        typer.echo(f"{setting.name}={value}  # {setting.line}")
    return 0


def run(name: str, overrides: Sequence[str], program: Program) -> int:
    """Train a recipe and, before it, the recipes that it needs; prints where the weights are."""
    with on_signals(_end, signal.SIGTERM, signal.SIGINT):
        return _run(read_recipe(name, overrides), partial(teacher_at, program))


def _end(number: int, _: object) -> None:
    """Exit with 0 while a run loads or measures: it has nothing to save then."""
    typer.echo(f"{signal.Signals(number).name}; start it again to resume")
    raise SystemExit(0)


def _run(planned: Planned, teacher: Callable[[str], AbstractContextManager[Teacher]]) -> int:
    training, recipe = planned.training, planned.recipe
    _outline(planned)
    if (lack := training.lacks(recipe)) is not None:
        typer.echo(f"lexiseg: {lack}", err=True)
        return 1
    if is_begun(recipe):
        typer.echo(f"resuming the run in {recipe.out}")
    typer.echo("loading torch, initial weights, texts and data")
    if ending := train_prerequisites(planned):
        typer.echo(ending)
        return 0
    training.prepare(recipe, teacher)
    trainer = training.trainer(recipe)
    typer.echo("training")
    weights = trainer.train()
    if weights is None:
        if trainer.ending:
            typer.echo(trainer.ending)
        return 0
    if not recipe.data.exists():
        typer.echo(f"weights are at {weights}; there is no data at {recipe.data} to measure them on")
        return 0
    typer.echo("training is finished; measuring")
    model = finish(planned, weights)
    if model is None:
        typer.echo(f"weights are at {weights}; they only serve as the start of other recipes")
        return 0
    typer.echo(
        f"model directory: {weights.parent}\n"
        f"serve it: LEXISEG_MODELS_DIR={weights.parent.parent} lexiseg serve --model {model}"
    )
    return 0


@contextmanager
def teacher_at(program: Program, url: str) -> Iterator[Teacher]:
    """The default model of the server at `url`, as a function that labels photographs."""
    import numpy as np

    from lexiseg_train.data.labelling.model_labels import SoftLabels  # imports torch

    with program.server(url, "semantic") as server:
        server.check("semantic")

        def label(photograph: bytes, classes: Sequence[str], background: bool) -> SoftLabels:
            fields = {"classes": [*classes], "background": background, "mask": "png", "confidence": True}
            answer = server.segment(photograph, fields)
            scores = np.zeros(len(classes))
            for each in answer.segments:
                scores[each.class_index] = each.score
            assert answer.confidence is not None
            return SoftLabels(f"{answer.model} {answer.model_digest[:16]}", answer.class_map, scores, answer.confidence)

        yield label


def plan(name: str, overrides: Sequence[str]) -> int:
    """Print what `run` would do: all values, what is trained, memory and time on this machine."""
    planned = read_recipe(name, overrides)
    training, recipe = planned.training, planned.recipe
    typer.echo(yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True).rstrip() + "\n")
    _outline(planned)
    if is_begun(recipe):
        typer.echo(f"it would resume the run in {recipe.out}")
    lack = training.lacks(recipe)
    _print_size(planned, lack)
    if lack is not None:
        typer.echo(f"training cannot begin, so nothing is measured: {lack}")
        return 0
    typer.echo("measuring a few batches")
    several = [*untrained_prerequisites(planned), planned]
    from lexiseg_train.training.recipes.dry_run import rehearse

    minutes = [rehearse(each, f"{each.name}: " if len(several) > 1 else "") for each in several]
    if None not in minutes:
        total = sum(each for each in minutes if each is not None)
        typer.echo(f"time: about {total:,.1f} minutes on this machine, without the final measurements")
    return 0


def _print_size(planned: Planned, lack: str | None) -> None:
    """Print how many parameters a network has, and the memory that a run keeps for them."""
    try:
        parameters = list(planned.training.network(planned.recipe).parameters())
    except DatasetError:
        if lack is None:
            raise
        return
    total = sum(each.numel() for each in parameters)
    trained = sum(each.numel() for each in parameters if each.requires_grad)
    typer.echo(f"parameters: {total:,}, of which {trained:,} are trained")
    spread = ", spread over the processes" if planned.recipe.sharding == "full" else ""
    # Weights and their average, and of what is trained its gradients and two moments.
    state = FLOAT_BYTES * (2 * total + 3 * trained) / MIB
    typer.echo(f"state: {state:,.0f} MiB for weights, their average, gradients and optimiser{spread}")


def _outline(planned: Planned) -> None:
    for place, each in enumerate([planned, *untrained_prerequisites(planned)]):
        recipe, start = each.recipe, each.training.start(each.recipe)
        before = "before it, " if place else ""
        typer.echo(f"{before}{each.name}: {recipe.length} from {start}; out: {recipe.out}")
