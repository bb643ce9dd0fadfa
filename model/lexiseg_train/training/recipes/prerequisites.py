"""Prerequisites of a training: data, and files that other recipes train."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from lexiseg_model.catalogue.method import CARD
from lexiseg_model.errors import RecipeError
from lexiseg_train.data.pairs.files import EXPECTED
from lexiseg_train.data.pairs.shards import is_address
from lexiseg_train.training.recipe import RECIPE, PairsRecipe, RunRecipe
from lexiseg_train.training.recipes.read import Planned, read_recipe
from lexiseg_train.training.recipes.training import Prerequisite

PUBLIC = "docs/data.md"  # how to get public data at scale
SHARED = ("data", "seed", "device")  # settings that a recipe hands on to recipes trained before it
SHARED_OF_PAIRS = {"pairs", "json_captions", "held_out"}
FINISHED = "finished"  # marks weights that get no card because they only serve other recipes


def lacks_pairs(data: Path, pairs: Sequence[Path | str]) -> str | None:
    """Which captioned photographs are missing, and what to do about it; None if all exist."""
    absent = [str(data / path) for path in pairs if not (is_address(path) or (data / path).exists())]
    if not absent:
        return None
    return (
        f"there are no captioned photographs at {', '.join(absent)}.\n"
        f"Expected: {EXPECTED}.\n"
        f"Name yours with: data=FOLDER pairs=[NAME]; {PUBLIC} says how to get CC3M, CC12M and RedCaps"
    )


def lacks_prerequisite(prerequisites: Iterable[Prerequisite], recipe: RunRecipe) -> str | None:
    """Why the recipes of missing files cannot begin; None if they can. Loads nothing."""
    for each in prerequisites:
        if not each.file.is_file():
            planned = plan_of(each, recipe)
            if (lack := planned.training.lacks(planned.recipe)) is not None:
                return lack
    return None


def untrained_prerequisites(planned: Planned) -> Iterator[Planned]:
    for each in planned.training.prerequisites(planned.recipe):
        if not is_finished(each.file):
            first = plan_of(each, planned.recipe)
            yield from untrained_prerequisites(first)
            yield first


def is_finished(file: Path) -> bool:
    """Whether weights exist and their run has ended: a run also writes weights along the way."""
    folder = file.parent
    ended = (folder / CARD).is_file() or (folder / FINISHED).is_file()
    return file.is_file() and (ended or not (folder / RECIPE).exists())


def plan_of(prerequisite: Prerequisite, needed_by: RunRecipe) -> Planned:
    """The recipe that writes a file, with the data, device and seed of the recipe that needs it, and with its pairs."""
    shared = [f"{name}={getattr(needed_by, name)}" for name in SHARED]
    shared.append(f"out={prerequisite.file.parent}")
    planned = read_recipe(prerequisite.name, shared)
    if not isinstance(needed_by, PairsRecipe) or not isinstance(planned.recipe, PairsRecipe):
        return planned
    pairs = needed_by.model_dump(mode="json", include=SHARED_OF_PAIRS)
    return read_recipe(prerequisite.name, [*shared, *(f"{name}={json.dumps(value)}" for name, value in pairs.items())])


def train_prerequisites(planned: Planned) -> str:
    """Train and publish what a recipe needs, in every process; returns why training stopped early, empty at the end."""
    expected = {each.file.resolve() for each in planned.training.prerequisites(planned.recipe)}
    for first in list(untrained_prerequisites(planned)):
        if ending := train_and_publish(first):
            return ending
    if absent := [str(file) for file in expected if not file.is_file()]:
        raise RecipeError(f"the recipes trained first did not write {', '.join(absent)}")
    return ""


def train_and_publish(first: Planned) -> str:
    """Train and publish one recipe with existing prerequisites; returns as `train_prerequisites`."""
    from lexiseg_train.training.processes import one_first, rank

    trainer = first.training.trainer(first.recipe)
    weights = trainer.train()
    if trainer.progress < 1:
        return f"{first.name}: {trainer.ending or 'stopped'}"
    with one_first():
        if rank() == 0 and weights is not None:
            finish(first, weights)
    return ""


def finish(planned: Planned, weights: Path) -> str | None:
    """Make a model directory of weights: the model's name; None for weights that are only the start of others."""
    card = planned.training.publish(planned.recipe, weights)
    if card is None:
        (weights.parent / FINISHED).touch()
        return None
    return card.name
