"""A run is not gone on with by another recipe; what differs is named as an override names it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from lexiseg_model.errors import RecipeError
from lexiseg_model.training.checkpoints.same import is_begun
from lexiseg_model.training.recipe import Phase
from tests.model.training.toy import recipe_for


def begun(out: Path, **values: Any) -> None:
    """What a run leaves beside its weights."""
    (out / "recipe.yaml").write_text(yaml.safe_dump(recipe_for(out, **values).model_dump(mode="json")))
    (out / "checkpoint.pt").touch()


def test_an_empty_folder_holds_no_run(tmp_path: Path) -> None:
    assert not is_begun(recipe_for(tmp_path))


def test_a_run_may_be_gone_on_with_longer_and_elsewhere(tmp_path: Path) -> None:
    begun(tmp_path, steps=10, workers=0, accumulation=2)

    assert is_begun(recipe_for(tmp_path, steps=20, workers=3, device="cuda", accumulation=1))


def test_what_differs_is_named_down_to_its_part(tmp_path: Path) -> None:
    phases = [Phase(after=0, crop=64, batch=4), Phase(after=0.5, crop=96, batch=4)]
    begun(tmp_path, phases=phases, rate_factors={"first": 0.1, "head": 2.0})
    phases[1] = phases[1].model_copy(update={"batch": 8})

    with pytest.raises(RecipeError) as raised:
        is_begun(recipe_for(tmp_path, phases=phases, rate_factors={"first": 0.1}, learning_rate=0.5))

    assert str(raised.value) == (
        f"{tmp_path} was made by another recipe: phases.1.batch was 4, is 8; learning_rate was 0.01, is 0.5; "
        f"rate_factors.head was 2.0, is None. Go on with its own, `lexiseg train {tmp_path}/recipe.yaml`, or train "
        "into another folder with out=FOLDER"
    )


def test_more_phases_are_named_as_a_whole(tmp_path: Path) -> None:
    begun(tmp_path, phases=[{"after": 0, "crop": 64, "batch": 4}])
    phases = [{"after": 0, "crop": 64, "batch": 4}, {"after": 0.5, "crop": 96, "batch": 4}]

    with pytest.raises(RecipeError, match=r"phases was \[\{[^{]*\}\], is \[\{.*\}, \{"):
        is_begun(recipe_for(tmp_path, phases=phases))


def test_of_a_run_of_version_0_1_nothing_is_compared(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("batch: 4\nlearning_rate: 7\n")
    (tmp_path / "checkpoint.pt").touch()

    assert is_begun(recipe_for(tmp_path))
