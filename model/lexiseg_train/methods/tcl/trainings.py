"""Training of TCL from captioned photographs."""

from __future__ import annotations

from typing import Any

from lexiseg_train.methods.tcl.recipe import TclRecipe
from lexiseg_train.training.recipes.prerequisites import lacks_pairs, lacks_prerequisite
from lexiseg_train.training.recipes.training import Code, Prerequisite, Training


class TclTraining(Training[TclRecipe]):
    """Training of the grounder over a frozen CLIP."""

    recipe = TclRecipe

    def code(self) -> Code:
        from lexiseg_train.methods.tcl import trainer

        return Code(trainer.untrained, trainer.TclTrainer, trainer.publish)

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
        return lacks_prerequisite(self.prerequisites(recipe), recipe)

    def prerequisites(self, recipe: TclRecipe) -> list[Prerequisite]:
        return Prerequisite.if_named("clip", recipe.clip, recipe.clip_recipe)


TRAININGS: dict[str, Training[Any]] = {"tcl": TclTraining()}
