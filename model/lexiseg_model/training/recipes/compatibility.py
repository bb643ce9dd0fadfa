"""Decides whether a run may resume with a recipe. Free of torch: `lexiseg train` checks before it loads anything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic_core import to_jsonable_python

from lexiseg_model.errors import RecipeError
from lexiseg_model.training.recipe import RunRecipe

RECIPE, CHECKPOINT = "recipe.yaml", "checkpoint.pt"  # files of a run


def is_begun(recipe: RunRecipe) -> bool:
    """Whether `recipe.out` holds a run that can resume.

    Raises:
        RecipeError: the run there used another recipe.
    """
    written = recipe.out / RECIPE
    if not written.is_file() or not (recipe.out / CHECKPOINT).is_file():
        return False
    require_same_recipe(recipe.out, yaml.safe_load(written.read_text(encoding="utf-8")), recipe)
    return True


def require_same_recipe(path: Path, earlier: Mapping[str, Any], recipe: RunRecipe) -> None:
    """Compare the recipe of a checkpoint with the one that is to continue it.

    Args:
        path: the checkpoint or its folder, for the message.
        earlier: values of the checkpoint's recipe; a setting that is missing counts as its default.
        recipe: of the run that resumes.

    Raises:
        RecipeError: settings outside `may_differ` differ; names each with both values.
    """
    now, earlier = recipe.model_dump(mode="json"), _with_global_batch(earlier)
    differences = [
        line
        for name in {**now, **earlier}
        if name not in recipe.may_differ
        for line in _differences(name, earlier[name] if name in earlier else _default(recipe, name), now.get(name))
    ]
    if differences:
        raise RecipeError(
            f"{path} was made by another recipe: {'; '.join(differences)}. Continue with its own recipe, "
            f"`lexiseg train {recipe.out / RECIPE}`, or train into another folder with out=FOLDER"
        )


def _with_global_batch(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Values of a single process's recipe whose phases state `batch` beside `accumulation`, in today's terms."""
    if "accumulation" not in values:
        return values
    phases = [
        {"after": phase["after"], "crop": phase["crop"], "global_batch": phase["batch"] * values["accumulation"]}
        for phase in values["phases"]
    ]
    return {name: value for name, value in values.items() if name != "accumulation"} | {"phases": phases}


def _differences(name: str, earlier: object, now: object) -> Iterator[str]:
    """One line for each part that differs, named as an override would name it."""
    if isinstance(earlier, dict) and isinstance(now, dict) and earlier and now:
        for key in {**earlier, **now}:
            yield from _differences(f"{name}.{key}", earlier.get(key), now.get(key))
    elif isinstance(earlier, list) and isinstance(now, list) and len(earlier) == len(now):
        for place, (one, other) in enumerate(zip(earlier, now, strict=True)):
            yield from _differences(f"{name}.{place}", one, other)
    elif earlier != now:
        yield f"{name} was {earlier!r}, is {now!r}"


def _default(recipe: RunRecipe, name: str) -> object:
    field = type(recipe).model_fields[name]
    return to_jsonable_python(None if field.is_required() else field.get_default(call_default_factory=True))
