"""Which recipes there are: files of the methods, found by their names; nothing is imported but what is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from lexiseg_model.catalogue.method import Method, methods
from lexiseg_model.errors import RecipeError
from lexiseg_model.training.recipes.training import Training

MODULE = "training"  # of a method: holds TRAININGS
FOLDER = "training/recipes"  # of a method: holds the files
SUFFIX = ".yaml"


class RecipeFile(NamedTuple):
    """A recipe that comes with a method."""

    name: str
    path: Path
    method: Method

    @property
    def summary(self) -> str:
        """What its file begins with: the first sentence of the comment."""
        lines = self.path.read_text(encoding="utf-8").splitlines()
        comment = " ".join(line.lstrip("# ") for line in lines[: _comments(lines)])
        return comment.partition(". ")[0].rstrip(".:")


def recipes() -> dict[str, RecipeFile]:
    """Every recipe by its name, in the order of the methods' names and then of theirs."""
    files = [
        RecipeFile(path.stem, path, method)
        for method in methods().values()
        for place in _folders(method)
        for path in sorted(place.glob(f"*{SUFFIX}"), key=lambda path: path.stem)
    ]
    by_name: dict[str, RecipeFile] = {}
    for file in files:
        by_name.setdefault(file.name, file)
    return by_name


def find(name: str) -> RecipeFile:
    """The file of one recipe.

    Raises:
        RecipeError: there is none of that name; the message says which there are.
    """
    by_name = recipes()
    if name not in by_name:
        alike = get_close_matches(name, by_name, n=1)
        meant = f" (is {alike[0]} meant?)" if alike else ""
        raise RecipeError(f"no recipe {name!r}{meant}; there is: {', '.join(by_name)}")
    return by_name[name]


def training_of(file: RecipeFile) -> Training[Any]:
    """How a recipe is trained that is laid over no other.

    Raises:
        RecipeError: its method does not say.
    """
    trainings: Mapping[str, Training[Any]] = file.method.module(MODULE).TRAININGS
    if file.name not in trainings:
        known = ", ".join(trainings)
        raise RecipeError(f"{file.path}: method {file.method.name} trains {known}; `recipe:` names one of them")
    return trainings[file.name]


def _folders(method: Method) -> list[Path]:
    try:
        spec = find_spec(method.package)
    except ModuleNotFoundError:  # of the package around it
        return []
    places = (spec.submodule_search_locations or ()) if spec else ()
    return [Path(place, FOLDER) for place in places]


def _comments(lines: list[str]) -> int:
    """How many lines of comment a file begins with."""
    return next((n for n, line in enumerate(lines) if not line.startswith("#")), len(lines))
