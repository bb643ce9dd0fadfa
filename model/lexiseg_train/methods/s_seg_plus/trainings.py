"""The recipe of S-Seg+."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lexiseg_model.vocabulary.class_names import BACKGROUND
from lexiseg_train.data.indexed import CLASSES, read_classes
from lexiseg_train.methods.s_seg_plus.recipe import StudentRecipe
from lexiseg_train.training.recipes.training import Code, Training


class StudentTraining(Training[StudentRecipe]):
    """Training of a student from another model's labels."""

    recipe = StudentRecipe

    def code(self) -> Code:
        from lexiseg_train.methods.s_seg_plus import trainer

        return Code(trainer.untrained, trainer.StudentTrainer, trainer.publish)

    def start(self, recipe: StudentRecipe) -> str:
        return "random weights" if recipe.start is None else f"the transformer of {recipe.start}, all else random"

    def lacks(self, recipe: StudentRecipe) -> str | None:
        absent = [str(recipe.data / name) for name in recipe.sets if not (recipe.data / name).exists()]
        if absent:
            return f"there are no labels at {', '.join(absent)}; `{_labelling(recipe, absent[0])}` writes them"
        truth = [(recipe.truth or recipe.data) / name for name in recipe.judged]
        if unjudged := [str(folder) for folder in truth if not folder.exists()]:
            return f"there are no true masks at {', '.join(unjudged)}; say where with truth=FOLDER, or judged=[]"
        if recipe.start is not None and not recipe.start.exists():
            return f"there are no weights at {recipe.start}; start=null begins with random ones"
        return None


def _labelling(recipe: StudentRecipe, lacking: str) -> str:
    """Command that writes the missing labels, for the photographs with true masks if the set is measured by them."""
    name = Path(lacking).name
    truth = (recipe.truth or recipe.data) / name
    if name not in recipe.judged or not (truth / recipe.split).is_dir():
        return f"lexiseg data pseudo-label PHOTOS {lacking} -c CLASS -c CLASS"
    background = "" if read_classes(truth / CLASSES)[0] == BACKGROUND else " --no-background"
    return f"lexiseg data pseudo-label {truth / recipe.split} {lacking}{background} --classes {truth / CLASSES}"


TRAININGS: dict[str, Training[Any]] = {"s-seg-plus": StudentTraining()}
