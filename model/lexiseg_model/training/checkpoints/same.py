"""Whether a run may go on by a recipe: how long, where and by what may change, anything else would make it another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from lexiseg_model.errors import RecipeError
from lexiseg_model.training.recipe import RunRecipe

RECIPE, CHECKPOINT = "recipe.yaml", "checkpoint.pt"  # files of a run


def is_begun(recipe: RunRecipe) -> bool:
    """Whether there is a run in `recipe.out` to go on with; looks at what lies beside its checkpoint, without torch.

    Raises:
        RecipeError: it is of another recipe.
    """
    written = recipe.out / RECIPE
    if not written.is_file() or not (recipe.out / CHECKPOINT).is_file():
        return False
    there = yaml.safe_load(written.read_text(encoding="utf-8"))
    if isinstance(there, dict) and "precision" in there:  # not in those of 0.1, of which nothing is compared
        # A step's batches may be spread otherwise, which the checkpoint alone can tell.
        require_same_recipe(recipe.out, there | {"accumulation": recipe.accumulation}, recipe)
    return True


def require_same_recipe(path: Path, there: Mapping[str, Any], recipe: RunRecipe) -> None:
    """
    Args:
        path: of the checkpoint, or of its folder.
        there: the values of the recipe that it was made by.
        recipe: by which the run is to go on.

    Raises:
        RecipeError: they differ; names each setting with both values.
    """
    here = recipe.model_dump(mode="json")
    fields = type(recipe).model_fields
    differ: list[str] = []
    for name in {**here, **there}:
        then = there[name] if name in there else _default(fields[name])
        if name not in recipe.may_differ:
            differ.extend(_differences(name, then, here.get(name)))
    if differ:
        raise RecipeError(
            f"{path} was made by another recipe: {'; '.join(differ)}. Go on with its own, "
            f"`lexiseg train {recipe.out / RECIPE}`, or train into another folder with out=FOLDER"
        )


def _differences(name: str, then: object, now: object) -> Iterator[str]:
    """Of one setting, down to the parts that differ, as an override would name them."""
    if isinstance(then, dict) and isinstance(now, dict) and then and now:
        for key in {**then, **now}:
            yield from _differences(f"{name}.{key}", then.get(key), now.get(key))
    elif isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        for place, (one, other) in enumerate(zip(then, now, strict=True)):
            yield from _differences(f"{name}.{place}", one, other)
    elif then != now:
        yield f"{name} was {then!r}, is {now!r}"


def _default(field: FieldInfo) -> object:
    """Of a setting that came after the checkpoint was made, as it is written."""
    value = None if field.is_required() else field.get_default(call_default_factory=True)
    return to_jsonable_python(value)
