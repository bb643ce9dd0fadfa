"""The recipes of `tiny`, read from YAML; `key=value` overrides on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, overload

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from lexiseg_model.errors import RecipeError
from lexiseg_model.methods.tiny.training.prompt_objects import MaskSet
from lexiseg_model.training.recipe import RunRecipe

FOLDER = Path(__file__).parent / "recipes"
TEXTS = FOLDER / "tiny_texts.yaml"


class TinyRecipe(RunRecipe):
    """Everything that decides the weights of `tiny` but those of its prompt head, and the data itself."""

    sets: dict[str, Annotated[float, Field(gt=0)]] = Field(min_length=1)  # data set -> factor beside size ** mixing
    mixing: float = Field(ge=0, le=1)
    start: str = "bundled"  # "bundled", "scratch" or a safetensors file
    out: Path = Path("runs/tiny")
    frozen: tuple[str, ...] = ()  # parts of the network that stay as they are
    balance: float = Field(ge=0, le=1)  # a class's weight is frequency ** -balance
    zoom: tuple[float, float] = (0.35, 1.3)  # of the shorter side of a photograph that a crop shows
    whole: float = Field(0.2, ge=0, le=1)  # share of whole pictures
    class_first: float = Field(0.5, ge=0, le=1)  # share of crops whose class is drawn before the photograph
    repeat: float = Field(0.5, ge=0, le=1)  # then a class is drawn with its number of photographs ** (1 - repeat)
    subset_weight: float = Field(ge=0)  # of the random request
    presence_weight: float = Field(ge=0)
    presence_focus: float = Field(0.9, ge=0, le=1)  # 0: absent classes weigh the same, 1: the likeliest count
    dice_weight: float = Field(0.0, ge=0)
    deep_weight: float = Field(0.0, ge=0)  # of the whole class list asked at stride 16


class PromptsRecipe(RunRecipe):
    """Everything that decides the weights of the prompt head, but the network below it and the data."""

    sets: dict[str, MaskSet] = Field(min_length=1)
    below: str = "bundled"  # "bundled" or a safetensors file: the network whose features the head reads
    out: Path = Path("runs/tiny_prompts")
    lone: int = Field(ge=1)  # prompts of one point, of each crop
    sure: int = Field(ge=1)  # boxes, groups of points, or both
    corrected: int = Field(0, ge=0)  # of these: a point, and a second one where its mask is wrong
    start: str = "scratch"  # "bundled", "scratch" or a safetensors file: the head to begin with

    @model_validator(mode="after")
    def _correct_some(self) -> PromptsRecipe:
        if self.corrected >= self.sure:
            raise ValueError(f"corrected is {self.corrected}; it must be below sure, {self.sure}")
        return self


class NamingSet(BaseModel):
    """How much of a data set names are learned from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    share: float = Field(gt=0, description="of the examples, beside those of the other sets")
    photographs: int = Field(ge=2, description="at most so many, evenly over the set")
    short_side: int = Field(ge=64, multiple_of=32, description="of the one pass over each")


class NamesRecipe(RunRecipe):
    """Everything that decides what tells names, but the network around it and the data."""

    sets: dict[str, NamingSet] = Field(min_length=1)
    below: str = "bundled"  # "bundled" or a safetensors file: the network that stays, prompt head and all
    out: Path = Path("runs/tiny_names")
    cells: Path = Path("runs/cells")  # what the trunk says of each photograph, kept
    focus: float = Field(ge=0, le=1)  # 0: absent classes weigh the same, 1: the likeliest count
    cell_weight: float = Field(ge=0)  # of names told cell by cell, where masks say which
    dropout: float = Field(ge=0, lt=1)


Recipe = TinyRecipe | PromptsRecipe | NamesRecipe
RECIPES: dict[str, type[Recipe]] = {"tiny": TinyRecipe, "tiny_prompts": PromptsRecipe, "tiny_names": NamesRecipe}


@overload
def read_recipe(name: Literal["tiny"], overrides: list[str]) -> TinyRecipe: ...
@overload
def read_recipe(name: Literal["tiny_prompts"], overrides: list[str]) -> PromptsRecipe: ...
@overload
def read_recipe(name: Literal["tiny_names"], overrides: list[str]) -> NamesRecipe: ...
@overload
def read_recipe(name: str, overrides: list[str]) -> Recipe: ...
def read_recipe(name: str, overrides: list[str]) -> Recipe:
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
            raise RecipeError(f"override {override!r} is not key=value, as in steps=30")
        try:
            values[key] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise RecipeError(f"override {override!r}: {value!r} is not YAML, as in steps=30") from None
    try:
        return RECIPES[name].model_validate(values)
    except ValidationError as error:
        lines = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']} (came: {e['input']!r})" for e in error.errors())
        raise RecipeError(f"recipe {name!r}: {lines}") from None
