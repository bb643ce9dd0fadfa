"""What a training stands on: files that are there, or that other recipes train first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from lexiseg_model.catalogue.method import CARD
from lexiseg_model.errors import RecipeError
from lexiseg_model.training.recipe import RunRecipe
from lexiseg_model.training.recipes.read import Planned, read_recipe
from lexiseg_model.training.recipes.training import Below

VALUES = "recipe.yaml"  # of a run, beside its weights
FINISHED = "finished"  # beside weights that serve nothing by themselves, and so have no card


def lacks_pairs(data: Path, pairs: Sequence[Path]) -> str | None:
    """Which captioned photographs are not there, and what to do about it; None where all are."""
    absent = [str(data / path) for path in pairs if not (data / path).exists()]
    if not absent:
        return None
    return (
        f"there are no captioned photographs at {', '.join(absent)}.\n"
        "Expected is a folder of .tar shards as img2dataset writes them, a folder with captions.json and images/, a "
        "CSV of image and caption, or COCO's captions.\nName yours with: data=FOLDER pairs=[NAME]"
    )


def lacks_below(below: Iterable[Below], above: RunRecipe) -> str | None:
    """Why the recipes that are to write these files cannot begin; None where they can, or need not. Loads nothing."""
    for each in below:
        if not each.file.is_file():
            planned = planned_below(each, above)
            if (lack := planned.training.lacks(planned.recipe)) is not None:
                return lack
    return None


def trained_first(planned: Planned) -> Iterator[Planned]:
    """The recipes that are trained before it, because what it stands on is not there, in their order."""
    for each in planned.training.below(planned.recipe):
        if not is_finished(each.file):
            first = planned_below(each, planned.recipe)
            yield from trained_first(first)
            yield first


def is_finished(file: Path) -> bool:
    """Whether weights are there that no run is still at work on: a run writes some along the way, too."""
    folder = file.parent
    return file.is_file() and (
        (folder / CARD).is_file() or (folder / FINISHED).is_file() or not (folder / VALUES).exists()
    )


def planned_below(below: Below, above: RunRecipe) -> Planned:
    """The recipe that writes a file, on the data, the device and the seed of the one above it."""
    same = [f"data={above.data}", f"out={below.file.parent}", f"seed={above.seed}", f"device={above.device}"]
    return read_recipe(below.name, same)


def train_first(planned: Planned) -> str:
    """Trains and publishes what is to be there before a recipe; every process of a run is to call it.

    Returns:
        Why it was stopped before its end, from where it goes on when it is called again; empty at the end.

    Raises:
        RecipeError: a recipe writes another file than the one that it is trained for.
    """
    expected = {each.file.resolve() for each in planned.training.below(planned.recipe)}
    for first in list(trained_first(planned)):
        if ending := train_whole(first):
            return ending
    if absent := [str(file) for file in expected if not file.is_file()]:
        raise RecipeError(f"what was trained first did not write {', '.join(absent)}")
    return ""


def train_whole(first: Planned) -> str:
    """Trains and publishes a recipe whose own ground is there; returns as `train_first`."""
    from lexiseg_model.training.gather import rank
    from lexiseg_model.training.processes.group import one_first

    trainer = first.training.trainer(first.recipe)
    weights = trainer.train()
    if trainer.progress < 1:
        return f"{first.name}: {trainer.ending or 'stopped'}"
    with one_first():
        if rank() == 0 and weights is not None:
            finish(first, weights)
    return ""


def finish(planned: Planned, weights: Path) -> str | None:
    """Makes a model directory of weights; returns the model's name, or None where they serve nothing by themselves."""
    card = planned.training.publish(planned.recipe, weights)
    if card is None:
        (weights.parent / FINISHED).touch()
        return None
    return card.name
