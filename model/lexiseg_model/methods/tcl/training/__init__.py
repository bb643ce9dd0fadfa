"""The recipes of `tcl`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lexiseg_model.methods.tcl.training.recipe import TclRecipe
from lexiseg_model.training.recipes.prerequisites import lacks_below, lacks_pairs
from lexiseg_model.training.recipes.training import Below, Training

if TYPE_CHECKING:
    from torch import nn

    from lexiseg_model.methods.tcl.training.trainer import TclTrainer
    from lexiseg_model.types import ModelCard


class TclTraining(Training[TclRecipe]):
    """The grounder over a frozen CLIP."""

    recipe = TclRecipe
    contrastive = True

    def start(self, recipe: TclRecipe) -> str:
        return f"a new grounder over {recipe.clip}, {recipe.architecture}"

    def lacks(self, recipe: TclRecipe) -> str | None:
        if (lack := lacks_pairs(recipe.data, recipe.pairs)) is not None:
            return lack
        if recipe.clip_recipe is None and not recipe.clip.is_file():
            return (
                f"there is no CLIP at {recipe.clip}; say where with clip=FILE and architecture=NAME, or train a small "
                "one: lexiseg train clip-smoke, then clip=runs/clip-smoke/clip.safetensors architecture=lexiseg-mini-16"
            )
        return lacks_below(self.below(recipe), recipe)

    def below(self, recipe: TclRecipe) -> list[Below]:
        return [] if recipe.clip_recipe is None else [Below("clip", recipe.clip, recipe.clip_recipe)]

    def network(self, recipe: TclRecipe) -> nn.Module:
        from lexiseg_model.methods.tcl.training.learned import empty

        return empty(recipe.architecture, recipe.loss)

    def trainer(self, recipe: TclRecipe) -> TclTrainer:
        from lexiseg_model.methods.tcl.training.trainer import TclTrainer

        return TclTrainer(recipe)

    def publish(self, recipe: TclRecipe, weights: Path) -> ModelCard:
        from lexiseg_model.methods.tcl.training.publish import publish

        return publish(recipe, weights)


TRAININGS: dict[str, Training[Any]] = {"tcl": TclTraining()}
