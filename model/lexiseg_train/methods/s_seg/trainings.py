"""Training of S-Seg from captioned photographs."""

from __future__ import annotations

from typing import Any

from lexiseg_train.methods.s_seg.recipe import SSegRecipe
from lexiseg_train.training.recipes.prerequisites import lacks_pairs
from lexiseg_train.training.recipes.training import Training

HERE = "lexiseg_train.methods.s_seg"


class PairsTraining(Training[SSegRecipe]):
    """Training of S-Seg: masks from pseudo-masks, classes from captions."""

    recipe = SSegRecipe

    at = (f"{HERE}.trainer:untrained", f"{HERE}.trainer:SSegTrainer", f"{HERE}.trainer:publish")

    def start(self, recipe: SSegRecipe) -> str:
        backbone = "a backbone of random weights" if recipe.backbone is None else f"the backbone of {recipe.backbone}"
        tower = recipe.masks.tower if recipe.tower is None else recipe.tower
        return f"{backbone}, all else random; pseudo-masks by {tower}"

    def lacks(self, recipe: SSegRecipe) -> str | None:
        if recipe.tower is not None and not recipe.tower.exists():
            return f"there are no weights of a DINO tower at {recipe.tower}; masks.tower=colours needs none"
        return lacks_pairs(recipe.data, recipe.pairs)


TRAININGS: dict[str, Training[Any]] = {"s-seg": PairsTraining()}
