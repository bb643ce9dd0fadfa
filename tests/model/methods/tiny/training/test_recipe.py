"""The recipes of tiny: what comes with the package, and what it takes for a value."""

from __future__ import annotations

from pathlib import Path

import pytest

from lexiseg_model.data.indexed import BACKGROUND
from lexiseg_model.errors import RecipeError
from lexiseg_model.methods.tiny.training.prompt_objects import MaskSet
from lexiseg_model.methods.tiny.training.recipe import PromptsRecipe, TinyRecipe
from lexiseg_model.training.recipe import Phase
from lexiseg_model.training.recipes.read import read_as


def words(*overrides: str) -> TinyRecipe:
    return read_as(TinyRecipe, "tiny", overrides)


def prompts(*overrides: str) -> PromptsRecipe:
    return read_as(PromptsRecipe, "tiny-prompts", overrides)


def test_the_recipe_of_tiny_validates() -> None:
    recipe = words()

    assert recipe.sets
    assert BACKGROUND not in recipe.sets


def test_the_recipe_of_tiny_begins_with_a_phase() -> None:
    assert words().phases[0].after == 0


def test_the_recipe_of_the_prompts_validates() -> None:
    recipe = prompts()

    assert sum(source.share for source in recipe.sets.values()) == pytest.approx(1.0)
    assert recipe.sets["clips"].splits == ["car-roundabout", "cows", "dance-twirl", "libby"]


def test_a_set_of_the_prompts_may_be_overridden() -> None:
    recipe = prompts("sets={mine: {share: 2.0, nothing: 0}}", "below=mine.safetensors")

    assert recipe.sets == {"mine": MaskSet(share=2.0, nothing=0)}
    assert recipe.below == "mine.safetensors"


def test_a_value_of_a_set_out_of_range_is_named() -> None:
    with pytest.raises(RecipeError, match=r"sets\.mine\.whole: .*less than or equal to 1 \(came: 2\)"):
        prompts("sets={mine: {share: 1, whole: 2}}")


def test_overrides_replace_values() -> None:
    recipe = words("steps=50", "decay_steps=0", "data=/pictures", "start=scratch", "sets={mine: 2.0}")

    assert (recipe.steps, recipe.data, recipe.start, recipe.sets) == (50, Path("/pictures"), "scratch", {"mine": 2})


def test_an_override_may_be_a_list() -> None:
    recipe = words("phases=[{after: 0, crop: 64, global_batch: 2}, {after: 0.5, crop: 96, global_batch: 1}]")

    assert recipe.phases == [Phase(after=0, crop=64, global_batch=2), Phase(after=0.5, crop=96, global_batch=1)]


def test_of_two_overrides_the_last_holds() -> None:
    assert words("seed=1", "seed=2").seed == 2


@pytest.mark.parametrize(
    ("override", "key", "value", "limit"),
    [
        ("steps=0", "steps", "0", "greater than or equal to 1"),
        ("mixing=1.5", "mixing", "1.5", "less than or equal to 1"),
        ("average_decay=1", "average_decay", "1", "less than 1"),
        ("workers=-1", "workers", "-1", "greater than or equal to 0"),
        ("steps=soon", "steps", "'soon'", "valid integer"),
        ("seed=", "seed", "None", "valid integer"),
        ("phases=[{after: 0, crop: 100, global_batch: 2}]", "phases.0.crop", "100", "multiple of 32"),
        ("phases=[{after: 0, crop: 32, global_batch: 2}]", "phases.0.crop", "32", "greater than or equal to 64"),
        ("phases=[]", "phases", "[]", "at least 1 item"),
        ("decay_steps=-1", "decay_steps", "-1", "greater than or equal to 0"),
        ("sets={}", "sets", "{}", "at least 1 item"),
        ("colour=red", "colour", "'red'", "there is no such setting"),
    ],
)
def test_a_bad_override_is_answered_with_key_value_and_limit(override: str, key: str, value: str, limit: str) -> None:
    with pytest.raises(RecipeError) as raised:
        words(override)

    message = str(raised.value)
    assert f"{key}: " in message
    assert limit in message
    assert f"(came: {value})" in message


def test_every_bad_override_is_named_at_once() -> None:
    with pytest.raises(RecipeError, match=r"steps: .*; balance: "):
        words("steps=-1", "balance=2")


@pytest.mark.parametrize("starts", [(0.2,), (0.0, 0.8, 0.5)])
def test_phases_cover_the_run_in_order(starts: tuple[float, ...]) -> None:
    phases = [{"after": after, "crop": 64, "batch": 1} for after in starts]

    with pytest.raises(RecipeError, match="the first must begin at 0, the others in order"):
        words(f"phases={phases}")


def test_a_data_set_without_a_share_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"sets\.voc: .*greater than 0"):
        words("sets={voc: 0}")


def test_a_decay_longer_than_the_run_is_refused() -> None:
    with pytest.raises(RecipeError, match="decay_steps is 20, more than the 10 steps of the run"):
        words("steps=10", "decay_steps=20")
