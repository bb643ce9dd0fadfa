"""Recipe and training of both towers of a CLIP, for the dense CLIP methods."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from lexiseg_train.training.recipe import PairsRecipe
from lexiseg_train.training.recipes.prerequisites import lacks_pairs
from lexiseg_train.training.recipes.training import Training, code_at

HERE = "lexiseg_train.methods.dense_clip"


class ClipRecipe(PairsRecipe):
    """Recipe of an image and a text tower from random weights, trained as CLIP."""

    out: Path = Path("runs/clip")
    architecture: str = Field("lexiseg-mini-16", description="open_clip's name")
    quick_gelu: bool = Field(True, description="activation: QuickGELU, as OpenAI's models have it, or GELU")


class PairTraining(Training[ClipRecipe]):
    recipe = ClipRecipe

    at = code_at(f"{HERE}.trainer", "PairTrainer")

    def start(self, recipe: ClipRecipe) -> str:
        return f"random weights of {recipe.architecture}"

    def lacks(self, recipe: ClipRecipe) -> str | None:
        return lacks_pairs(recipe.data, recipe.pairs)


TRAININGS: dict[str, Training[Any]] = {"clip": PairTraining()}
