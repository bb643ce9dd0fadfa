"""Recipes of the dense CLIP family."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lexiseg_model.methods.dense_clip.training.recipe import ClipRecipe
from lexiseg_model.training.recipes.prerequisites import lacks_pairs
from lexiseg_model.training.recipes.training import Training

if TYPE_CHECKING:
    from torch import nn

    from lexiseg_model.methods.dense_clip.training.pair_trainer import PairTrainer
    from lexiseg_model.types import ModelCard


class PairTraining(Training[ClipRecipe]):
    """Both towers of a CLIP, from random weights."""

    recipe = ClipRecipe
    contrastive = True

    def start(self, recipe: ClipRecipe) -> str:
        return f"random weights of {recipe.architecture}"

    def lacks(self, recipe: ClipRecipe) -> str | None:
        return lacks_pairs(recipe.data, recipe.pairs)

    def network(self, recipe: ClipRecipe) -> nn.Module:
        import torch

        from lexiseg_model.methods.dense_clip.training.pair_trainer import TowerPair

        with torch.device("meta"):
            return TowerPair(recipe.architecture, recipe.quick_gelu)

    def trainer(self, recipe: ClipRecipe) -> PairTrainer:
        from lexiseg_model.methods.dense_clip.training.pair_trainer import PairTrainer

        return PairTrainer(recipe)

    def publish(self, recipe: ClipRecipe, weights: Path) -> ModelCard | None:
        from lexiseg_model.methods.dense_clip.training.publish import publish_pair

        return publish_pair(recipe, weights)


TRAININGS: dict[str, Training[Any]] = {"clip": PairTraining()}
