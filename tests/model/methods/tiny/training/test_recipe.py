"""Values that the recipes of `tiny` accept."""

from __future__ import annotations

import pytest

from lexiseg_model.errors import RecipeError
from lexiseg_model.methods.tiny.training.recipe import TinyRecipe
from lexiseg_model.training.recipes.read import read_as


def words(*overrides: str) -> TinyRecipe:
    return read_as(TinyRecipe, "tiny", overrides)


@pytest.mark.parametrize("starts", [(0.2,), (0.0, 0.8, 0.5)])
def test_phases_cover_the_run_in_order(starts: tuple[float, ...]) -> None:
    phases = [{"after": after, "crop": 64, "global_batch": 1} for after in starts]

    with pytest.raises(RecipeError, match="expected the first at 0 and ascending order"):
        words(f"phases={phases}")


def test_a_decay_longer_than_the_run_is_refused() -> None:
    with pytest.raises(RecipeError, match="decay_steps is 20, more than the 10 steps of the run"):
        words("steps=10", "decay_steps=20")
