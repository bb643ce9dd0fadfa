"""What a training stands on: a file that is there, or one that another recipe trains first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lexiseg_model.errors import RecipeError
from lexiseg_model.method import CARD
from lexiseg_model.training.recipe import RunRecipe
from lexiseg_model.training.recipes.read import Planned, read_recipe

VALUES = "recipe.yaml"  # of a run, beside its weights


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


def lacks_below(file: Path, name: str, above: RunRecipe) -> str | None:
    """Why the recipe that is to write `file` cannot begin; None where it can, or need not. Loads nothing."""
    if file.is_file():
        return None
    planned = _planned(file, name, above)
    return planned.training.lacks(planned.recipe)


def train_below(file: Path, name: str, above: RunRecipe) -> None:
    """Trains and publishes a recipe on the data, the device and the seed of the one above it, unless its file is there.

    Args:
        file: what it writes.
        name: of the recipe.
        above: the recipe that stands on it.

    Raises:
        RecipeError: it was stopped before its end, from where it goes on when it is started again, or it writes
            another file.
    """
    # A run writes weights along the way, too: they are finished where there is a card, or where no run wrote them.
    if file.is_file() and ((file.parent / CARD).is_file() or not (file.parent / VALUES).exists()):
        return
    planned = _planned(file, name, above)
    written = planned.training.trainer(planned.recipe).train()
    if written is None:
        raise RecipeError(f"{name} was stopped before its end; start it again to go on")
    if written.resolve() != file.resolve():
        raise RecipeError(f"{name} has written {written}; expected {file}")
    planned.training.publish(planned.recipe, written)


def _planned(file: Path, name: str, above: RunRecipe) -> Planned:
    same = [f"data={above.data}", f"out={file.parent}", f"seed={above.seed}", f"device={above.device}"]
    return read_recipe(name, same)
