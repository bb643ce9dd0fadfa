"""Recipe and training of an S-Seg+ student from another model's labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from lexiseg_model.errors import DatasetError
from lexiseg_model.methods.s_seg_plus.network import SSegPlusSettings
from lexiseg_model.vocabulary.class_names import BACKGROUND
from lexiseg_train.data.indexed import CLASSES, IndexedDataset, read_classes
from lexiseg_train.training.recipe import RunRecipe
from lexiseg_train.training.recipes.training import Training, code_at

HERE = "lexiseg_train.methods.s_seg_plus"


class StudentRecipe(RunRecipe):
    """Recipe of a self-training: a supervised network from labels that another model wrote."""

    out: Path = Path("runs/s-seg-plus")
    sets: list[str] = Field(min_length=1, description="labelled sets below `data`, as `data pseudo-label` writes them")
    split: str = Field("train", description="split of each set")
    judged: list[str] = Field([], description="sets with true masks and these classes: their val splits are measured")
    truth: Path | None = Field(None, description="folder of the sets of `judged`; null: `data`")
    network: SSegPlusSettings = SSegPlusSettings()
    start: Path | None = Field(None, description="the transformer's first weights, timm's or MAE's; null: random")
    helper: float = Field(0.4, ge=0, description="weight of the second head's loss (mmseg's)")
    mismatched: bool = Field(False, description="labels of other photographs: a control, which learns no photograph")
    zoom: tuple[float, float] = Field((0.5, 2.0), description="factors of the photograph's shorter side in a crop")


def settings_for(recipe: StudentRecipe, sets: list[IndexedDataset]) -> SSegPlusSettings:
    """The recipe's network with the common class list of the sets. Raises DatasetError: they have different ones."""
    lists = {data.classes for data in sets}
    if len(lists) != 1:
        raise DatasetError(f"{', '.join(recipe.sets)} have different class lists; a student has one")
    return recipe.network.model_copy(update={"classes": lists.pop()})


class StudentTraining(Training[StudentRecipe]):
    recipe = StudentRecipe

    at = code_at(f"{HERE}.trainer", "StudentTrainer")

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
