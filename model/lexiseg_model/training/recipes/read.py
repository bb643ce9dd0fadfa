"""From a name or a YAML file, and what is laid over it, to a validated recipe and how it is trained."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from lexiseg_model.errors import RecipeError
from lexiseg_model.training.recipe import RunRecipe, with_budget
from lexiseg_model.training.recipes.overrides import lay, parse
from lexiseg_model.training.recipes.registry import RecipeFile, find, training_of
from lexiseg_model.training.recipes.training import Training

RECIPE = "recipe"  # the key that names the recipe below
Recipe = TypeVar("Recipe", bound=RunRecipe)


class Planned(NamedTuple):
    """A recipe with all its values, and how it is trained."""

    name: str  # of the recipe, or of the file
    training: Training[Any]
    recipe: RunRecipe


class _Layers(NamedTuple):
    """Values of files, the lowest first; `root` is laid over no other, `nearest` is the topmost that has a name."""

    root: RecipeFile
    nearest: str
    values: list[dict[str, Any]]


def read_recipe(name: str, overrides: Sequence[str] = ()) -> Planned:
    """Reads a recipe; loads neither torch nor data.

    Args:
        name: of a recipe, or the path of a YAML file that names one as `recipe`.
        overrides: `key=value` strings, applied in order.

    Raises:
        RecipeError: no such recipe or file, a malformed override, or values out of range; all of these are named.
    """
    layers = _layers(name)
    training = training_of(layers.root)
    values = dict(layers.values[0])
    for layer in layers.values[1:]:
        for key, value in layer.items():
            values = with_budget(values, key, value)
            lay(values, key, value, training.recipe)
    for override in overrides:
        key, value = parse(override)
        values = with_budget(values, key, value)
        lay(values, key, value, training.recipe)
    values[RECIPE] = layers.nearest
    try:
        return Planned(name, training, training.recipe.model_validate(values))
    except ValidationError as error:
        lines = "; ".join(_said(each, training.recipe) for each in error.errors())
        raise RecipeError(f"recipe {name!r}: {lines}") from None


def _said(error: ErrorDetails, kind: type[RunRecipe]) -> str:
    """One thing that is wrong with values; of a key that is misspelt, what it may have meant."""
    place = [str(part) for part in error["loc"]]
    key = ".".join(place)
    if not place:  # of several values together
        return error["msg"].removeprefix("Value error, ")
    if error["type"] != "extra_forbidden":
        return f"{key}: {error['msg']} (came: {error['input']!r})"
    alike = get_close_matches(place[0], kind.model_fields, n=1) if len(place) == 1 else []
    return f"{key}: there is no such setting{f'; is {alike[0]} meant?' if alike else ''} (came: {error['input']!r})"


def read_as(kind: type[Recipe], name: str, overrides: Sequence[str] = ()) -> Recipe:
    """`read_recipe` of one whose values are of a known class.

    Raises:
        RecipeError: as `read_recipe`, and it is of another class.
    """
    recipe = read_recipe(name, overrides).recipe
    if not isinstance(recipe, kind):
        raise RecipeError(f"recipe {name!r} is a {type(recipe).__name__}, not a {kind.__name__}")
    return recipe


def _layers(name: str) -> _Layers:
    """Follows `recipe:` down to the one that is laid over no other."""
    files: list[RecipeFile] = []
    layers: list[dict[str, Any]] = []
    values = _values(Path(name)) if is_path(name) else {RECIPE: name}
    if RECIPE not in values:
        raise RecipeError(f"{name} does not say which recipe it is laid over; begin it with `recipe: NAME`")
    while (below := values.pop(RECIPE, None)) is not None:
        layers.insert(0, values)
        files.append(find(str(below)))
        if files[-1] in files[:-1]:
            raise RecipeError(f"recipe {name!r} is laid over itself: {', '.join(file.name for file in files)}")
        values = _values(files[-1].path)
    layers.insert(0, values)
    return _Layers(files[-1], files[0].name, layers)


def is_path(name: str) -> bool:
    """A file rather than a recipe's name."""
    return bool(re.search(r"[/\\]|\.ya?ml$", name))


def _values(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RecipeError(f"there is no recipe at {path}") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RecipeError(f"{path} is not a recipe: {error}") from None
    if not isinstance(values, dict):
        raise RecipeError(f"{path} is not a recipe: keys and values are expected, {type(values).__name__} came")
    return {str(key): value for key, value in values.items()}
