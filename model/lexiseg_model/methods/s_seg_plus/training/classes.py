"""The class list of a student: that of all sets it learns from."""

from __future__ import annotations

from lexiseg_model.data.indexed import IndexedDataset
from lexiseg_model.errors import DatasetError
from lexiseg_model.methods.s_seg_plus.settings import SSegPlusSettings
from lexiseg_model.methods.s_seg_plus.training.recipe import StudentRecipe


def settings_for(recipe: StudentRecipe, sets: list[IndexedDataset]) -> SSegPlusSettings:
    """The recipe's, with the class list that all sets have.

    Raises:
        DatasetError: they have different ones.
    """
    lists = {data.classes for data in sets}
    if len(lists) != 1:
        raise DatasetError(f"{', '.join(recipe.sets)} have different class lists; a student has one")
    return recipe.network.model_copy(update={"classes": lists.pop()})
