"""Recipes of the dense CLIP family."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lexiseg_model.methods.dense_clip.training.recipe import ClipRecipe, DinoiserRecipe
from lexiseg_model.training.recipes.prerequisites import lacks_below, lacks_pairs
from lexiseg_model.training.recipes.training import Below, Training

if TYPE_CHECKING:
    from torch import nn

    from lexiseg_model.methods.dense_clip.training.dinoiser_trainer import DinoiserTrainer
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


class HeadsTraining(Training[DinoiserRecipe]):
    """CLIP-DINOiser's heads over a CLIP, taught by a DINO tower."""

    recipe = DinoiserRecipe

    def start(self, recipe: DinoiserRecipe) -> str:
        below = f"{recipe.pretrained} of {recipe.architecture}" if recipe.clip is None else str(recipe.clip)
        teacher = f"{recipe.teacher} of timm's hub" if recipe.tower is None else str(recipe.tower)
        return f"new heads over {below}, taught by {teacher}"

    def lacks(self, recipe: DinoiserRecipe) -> str | None:
        if not (recipe.data / recipe.photographs).is_dir():
            return (
                f"there are no photographs at {recipe.data / recipe.photographs}; say where with data=FOLDER "
                "photographs=FOLDER"
            )
        if (lack := lacks_below(self.below(recipe), recipe)) is not None:
            return lack
        for file, name, key in (
            (recipe.clip, recipe.clip_recipe, "clip"),
            (recipe.tower, recipe.tower_recipe, "tower"),
        ):
            if file is not None and name is None and not file.is_file():
                return f"there are no weights at {file}; say where with {key}=FILE, or {key}=null for the hub's"
        return None

    def below(self, recipe: DinoiserRecipe) -> list[Below]:
        stands_on = (("clip", recipe.clip, recipe.clip_recipe), ("tower", recipe.tower, recipe.tower_recipe))
        return [Below(key, file, name) for key, file, name in stands_on if file is not None and name is not None]

    def network(self, recipe: DinoiserRecipe) -> nn.Module:
        from lexiseg_model.clip.towers import configuration
        from lexiseg_model.methods.dense_clip.dinoiser import DinoiserHeads

        return DinoiserHeads(configuration(recipe.architecture)["vision_cfg"]["width"])

    def trainer(self, recipe: DinoiserRecipe) -> DinoiserTrainer:
        from lexiseg_model.methods.dense_clip.training.dinoiser_trainer import DinoiserTrainer

        return DinoiserTrainer(recipe)

    def publish(self, recipe: DinoiserRecipe, weights: Path) -> ModelCard:
        from lexiseg_model.methods.dense_clip.training.publish import publish_heads

        return publish_heads(recipe, weights)


TRAININGS: dict[str, Training[Any]] = {"clip": PairTraining(), "dinoiser": HeadsTraining()}
