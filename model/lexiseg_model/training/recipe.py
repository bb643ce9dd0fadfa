"""Recipes: what a training run uses, as validated data; `key=value` overrides on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, overload

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from lexiseg_model.errors import RecipeError
from lexiseg_model.training.prompt_objects import MaskSet

FOLDER = Path(__file__).parent / "recipes"


class Phase(BaseModel):
    """Crop size and batch from a share of the run on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    after: float = Field(ge=0, lt=1)
    crop: int = Field(ge=64, multiple_of=32)
    batch: int = Field(ge=1)


class RunRecipe(BaseModel):
    """What every run is told, whatever it trains."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: Path = Path("../shared/data")
    out: Path
    minutes: float = Field(gt=0)
    seed: int = 0
    phases: list[Phase] = Field(min_length=1)
    learning_rate: float = Field(gt=0)
    warmup_steps: int = Field(ge=0)
    weight_decay: float = Field(ge=0)
    average_decay: float = Field(ge=0, lt=1)
    checkpoint_minutes: float = Field(gt=0)
    device: str = "auto"
    workers: int = Field(1, ge=0)

    @field_validator("phases")
    @classmethod
    def _cover_the_run(cls, phases: list[Phase]) -> list[Phase]:
        starts = [phase.after for phase in phases]
        if starts[0] != 0 or starts != sorted(starts):
            raise ValueError(f"phases begin after {starts} of the run; the first must begin at 0, the others in order")
        return phases


class TinyRecipe(RunRecipe):
    """Everything that decides the weights of `tiny` but those of its prompt head, and the data itself."""

    sets: dict[str, Annotated[float, Field(gt=0)]] = Field(min_length=1)  # data set -> factor beside size ** mixing
    mixing: float = Field(ge=0, le=1)
    start: str = "bundled"  # "bundled", "scratch" or a safetensors file
    out: Path = Path("runs/tiny")
    balance: float = Field(ge=0, le=1)  # a class's weight is frequency ** -balance
    subset_weight: float = Field(ge=0)
    presence_weight: float = Field(ge=0)


class PromptsRecipe(RunRecipe):
    """Everything that decides the weights of the prompt head, but the network below it and the data."""

    sets: dict[str, MaskSet] = Field(min_length=1)
    below: str = "bundled"  # "bundled" or a safetensors file: the network whose features the head reads
    out: Path = Path("runs/tiny_prompts")
    lone: int = Field(ge=1)  # prompts of one point, of each crop
    sure: int = Field(ge=1)  # boxes, groups of points, or both


RECIPES: dict[str, type[TinyRecipe] | type[PromptsRecipe]] = {"tiny": TinyRecipe, "tiny_prompts": PromptsRecipe}


@overload
def read_recipe(name: Literal["tiny"], overrides: list[str]) -> TinyRecipe: ...
@overload
def read_recipe(name: Literal["tiny_prompts"], overrides: list[str]) -> PromptsRecipe: ...
@overload
def read_recipe(name: str, overrides: list[str]) -> TinyRecipe | PromptsRecipe: ...
def read_recipe(name: str, overrides: list[str]) -> TinyRecipe | PromptsRecipe:
    """Reads a recipe that comes with the package.

    Args:
        name: of a file in `recipes/`, without its suffix.
        overrides: `key=value` strings; values are YAML.

    Raises:
        RecipeError: no such recipe, a malformed override, or a value out of range.
    """
    if name not in RECIPES:
        raise RecipeError(f"no recipe {name!r}; there is: {', '.join(RECIPES)}")
    values = yaml.safe_load((FOLDER / f"{name}.yaml").read_text())
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals:
            raise RecipeError(f"override {override!r} is not key=value, as in minutes=30")
        try:
            values[key] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise RecipeError(f"override {override!r}: {value!r} is not YAML, as in minutes=30") from None
    try:
        return RECIPES[name].model_validate(values)
    except ValidationError as error:
        lines = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']} (came: {e['input']!r})" for e in error.errors())
        raise RecipeError(f"recipe {name!r}: {lines}") from None
