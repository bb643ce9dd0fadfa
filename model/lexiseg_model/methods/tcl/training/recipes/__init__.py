"""The recipes of `tcl`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lexiseg_model.methods.tcl.training.recipe import TclRecipe
from lexiseg_model.training.recipes.below import lacks_below, lacks_pairs, train_below
from lexiseg_model.training.recipes.training import Training

if TYPE_CHECKING:
    from torch import nn

    from lexiseg_model.methods.tcl.training.trainer import TclTrainer
    from lexiseg_model.types import ModelCard


class TclTraining(Training[TclRecipe]):
    """The grounder over a frozen CLIP."""

    recipe = TclRecipe

    def start(self, recipe: TclRecipe) -> str:
        below = f"{recipe.clip}, {recipe.architecture}"
        if recipe.clip_recipe is not None and not recipe.clip.exists():
            return f"a new grounder over {below}, which {recipe.clip_recipe} trains first"
        return f"a new grounder over {below}"

    def lacks(self, recipe: TclRecipe) -> str | None:
        if (lack := lacks_pairs(recipe.data, recipe.pairs)) is not None:
            return lack
        if recipe.clip_recipe is not None:
            return lacks_below(recipe.clip, recipe.clip_recipe, recipe)
        if not recipe.clip.is_file():
            return (
                f"there is no CLIP at {recipe.clip}; say where with clip=FILE and architecture=NAME, or train a small "
                "one: lexiseg train clip-smoke, then clip=runs/clip-smoke/clip.safetensors architecture=lexiseg-mini-16"
            )
        return None

    def network(self, recipe: TclRecipe) -> nn.Module:
        from lexiseg_model.methods.tcl.training.learned import empty

        return empty(recipe.architecture, recipe.loss)

    def trainer(self, recipe: TclRecipe) -> TclTrainer:
        from lexiseg_model.methods.tcl.training.trainer import TclTrainer

        if recipe.clip_recipe is not None:
            train_below(recipe.clip, recipe.clip_recipe, recipe)
        return TclTrainer(recipe)

    def publish(self, recipe: TclRecipe, weights: Path) -> ModelCard:
        from lexiseg_model.methods.tcl.training.publish import publish

        return publish(recipe, weights)


TRAININGS: dict[str, Training[Any]] = {"tcl": TclTraining()}
