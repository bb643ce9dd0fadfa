"""Trainings of Unpair-Seg: stage one, and stage two over it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lexiseg_train.methods.unpair_seg.recipe import AlignRecipe, MasksRecipe
from lexiseg_train.training.recipes.prerequisites import PUBLIC, lacks_pairs, lacks_prerequisite
from lexiseg_train.training.recipes.training import Code, Prerequisite, Training


class MasksTraining(Training[MasksRecipe]):
    """Stage one: promptable masks over a frozen CLIP."""

    recipe = MasksRecipe

    def code(self) -> Code:
        from lexiseg_train.methods.unpair_seg import masks_trainer

        return Code(masks_trainer.untrained, masks_trainer.MasksTrainer, masks_trainer.publish_masks)

    def start(self, recipe: MasksRecipe) -> str:
        clip = ", ".join(map(str, recipe.clip)) or f"open_clip's {recipe.clip_tag}"
        return f"random weights over the frozen CLIP of {clip}"

    def lacks(self, recipe: MasksRecipe) -> str | None:
        absent = [str(recipe.data / name) for name in recipe.sets if not (recipe.data / name).exists()]
        if absent:
            where = "say where with data=FOLDER sets=[NAME]"
            return f"there are no masks at {', '.join(absent)}; {where}; {PUBLIC} says how to get SA-1B"
        if recipe.clip_recipe is None and (lack := _without_clip(recipe.clip)) is not None:
            return lack
        return lacks_prerequisite(self.prerequisites(recipe), recipe)

    def prerequisites(self, recipe: MasksRecipe) -> list[Prerequisite]:
        return Prerequisite.if_named("clip", recipe.clip[0] if recipe.clip else None, recipe.clip_recipe)


class AlignTraining(Training[AlignRecipe]):
    """Stage two: an adapter that aligns regions with entities of captions."""

    recipe = AlignRecipe

    def code(self) -> Code:
        from lexiseg_train.methods.unpair_seg import align_trainer

        return Code(align_trainer.untrained, align_trainer.AlignTrainer, align_trainer.publish_aligned)

    def start(self, recipe: AlignRecipe) -> str:
        return f"an adapter that says what CLIP says, over stage one of {recipe.stage_one}"

    def lacks(self, recipe: AlignRecipe) -> str | None:
        if (lack := lacks_pairs(recipe.data, recipe.pairs)) is not None:
            return lack
        if (lack := lacks_prerequisite(self.prerequisites(recipe), recipe)) is not None:
            return lack
        if recipe.stage_one_recipe is None and not recipe.stage_one.exists():
            return f"there is no stage one at {recipe.stage_one}; `lexiseg train unpair-seg-masks` makes one"
        if not recipe.listing.exists():
            command = f"lexiseg data entities {recipe.data / recipe.pairs[0]} {recipe.listing}"
            return f"there are no entities at {recipe.listing}; `{command}` finds them"
        return _without_clip(recipe.clip)

    def prerequisites(self, recipe: AlignRecipe) -> list[Prerequisite]:
        return Prerequisite.if_named("stage_one", recipe.stage_one, recipe.stage_one_recipe)


TRAININGS: dict[str, Training[Any]] = {"unpair-seg-masks": MasksTraining(), "unpair-seg-align": AlignTraining()}


def _without_clip(files: Sequence[Path]) -> str | None:
    absent = [str(path) for path in files if not path.exists()]
    if not absent:
        return None
    command = "lexiseg train clip-convnext-smoke"
    return f"there is no CLIP at {', '.join(absent)}; `{command}` makes a small one"
