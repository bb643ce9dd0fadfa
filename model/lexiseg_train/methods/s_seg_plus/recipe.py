"""Recipe of an S-Seg+ student, and its class list."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from lexiseg_model.errors import DatasetError
from lexiseg_model.methods.s_seg_plus.network import SSegPlusSettings
from lexiseg_train.data.indexed import IndexedDataset
from lexiseg_train.training.recipe import RunRecipe


class StudentRecipe(RunRecipe):
    """Recipe of a self-training: a supervised network from labels that another model wrote."""

    out: Path = Path("runs/s-seg-plus")
    sets: list[str] = Field(min_length=1, description="labelled sets below `data`, as `data pseudo-label` writes them")
    split: str = Field("train", description="split of each set")
    judged: list[str] = Field([], description="sets with true masks and these classes: their val splits are measured")
    truth: Path | None = Field(None, description="folder of the sets of `judged`; null: `data`")
    network: SSegPlusSettings = SSegPlusSettings()
    start: Path | None = Field(
        None, description="the transformer's first weights, in timm's format, MAE's; null: random"
    )
    helper: float = Field(0.4, ge=0, description="weight of the second head's loss (mmseg's)")
    mismatched: bool = Field(False, description="labels of other photographs: a control, which learns no photograph")
    zoom: tuple[float, float] = Field(
        (0.5, 2.0), description="range of factors of the photograph's shorter side in a crop"
    )


def settings_for(recipe: StudentRecipe, sets: list[IndexedDataset]) -> SSegPlusSettings:
    """Settings of the recipe's network with the common class list of the sets.

    Raises:
        DatasetError: the sets have different class lists.
    """
    lists = {data.classes for data in sets}
    if len(lists) != 1:
        raise DatasetError(f"{', '.join(recipe.sets)} have different class lists; a student has one")
    return recipe.network.model_copy(update={"classes": lists.pop()})
