"""Recipes of S-Seg, from captioned photographs, and of a DINO tower for its pseudo-masks."""

from __future__ import annotations

from typing import Any

from lexiseg_model.methods.s_seg.training.recipe import SSegRecipe
from lexiseg_model.methods.s_seg.training.tower.recipe import TowerRecipe
from lexiseg_model.training.recipes.prerequisites import lacks_below, lacks_pairs
from lexiseg_model.training.recipes.training import Below, Training


class PairsTraining(Training[SSegRecipe]):
    """Training of S-Seg: masks from pseudo-masks of a frozen tower, classes from captions."""

    recipe = SSegRecipe
    contrastive = True
    network_code, trainer_code, publish_code = "trainer:untrained", "trainer:SSegTrainer", "publish:publish"

    def start(self, recipe: SSegRecipe) -> str:
        backbone = "a backbone of random weights" if recipe.backbone is None else f"the backbone of {recipe.backbone}"
        tower = f"{recipe.masks.tower} of timm's hub" if recipe.tower is None else str(recipe.tower)
        return f"{backbone}, all else random; pseudo-masks by {tower}"

    def lacks(self, recipe: SSegRecipe) -> str | None:
        if (lack := lacks_pairs(recipe.data, recipe.pairs)) is not None:
            return lack
        if recipe.tower is not None and recipe.tower_recipe is None and not recipe.tower.exists():
            return (
                f"there are no weights of a DINO tower at {recipe.tower}; `lexiseg train dino-smoke` makes small ones"
            )
        return lacks_below(self.below(recipe), recipe)

    def below(self, recipe: SSegRecipe) -> list[Below]:
        return Below.of("tower", recipe.tower, recipe.tower_recipe)


class TowerTraining(Training[TowerRecipe]):
    """Training of a DINO tower from photographs without labels."""

    recipe = TowerRecipe
    network_code, trainer_code = "tower.trainer:untrained", "tower.trainer:TowerTrainer"
    publish_code = "tower.trainer:report"

    def start(self, recipe: TowerRecipe) -> str:
        return f"random weights, {recipe.tower.depth} layers of {recipe.tower.width}"

    def lacks(self, recipe: TowerRecipe) -> str | None:
        absent = [str(recipe.data / path) for path in recipe.photographs if not (recipe.data / path).exists()]
        if absent:
            return f"there are no photographs at {', '.join(absent)}; say where with data=FOLDER photographs=[NAME]"
        return None


TRAININGS: dict[str, Training[Any]] = {"s-seg": PairsTraining(), "dino": TowerTraining()}
