"""Recipe of CLIP's towers for the dense CLIP methods."""

from __future__ import annotations

from typing import Any

from lexiseg_train.methods.dense_clip.recipe import ClipRecipe
from lexiseg_train.training.recipes.prerequisites import lacks_pairs
from lexiseg_train.training.recipes.training import Code, Training


class PairTraining(Training[ClipRecipe]):
    """Training of both towers of a CLIP from random weights."""

    recipe = ClipRecipe

    def code(self) -> Code:
        from lexiseg_train.methods.dense_clip import trainer

        return Code(trainer.untrained, trainer.PairTrainer, trainer.publish)

    def start(self, recipe: ClipRecipe) -> str:
        return f"random weights of {recipe.architecture}"

    def lacks(self, recipe: ClipRecipe) -> str | None:
        return lacks_pairs(recipe.data, recipe.pairs)


TRAININGS: dict[str, Training[Any]] = {"clip": PairTraining()}
