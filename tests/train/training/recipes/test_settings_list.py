"""What a recipe's settings say, and the setting that a wrong name means."""

from pathlib import Path

import pytest

from lexiseg_model.errors import RecipeError
from lexiseg_train.training.recipe import RunRecipe
from lexiseg_train.training.recipes.read import read_recipe, recipes, settings


@pytest.mark.parametrize("name", ["tcl", "s-seg", "s-seg-plus-smoke", "unpair-seg-align", "clip"])
def test_every_setting_has_a_line(name: str) -> None:
    listed = {setting.name: setting for setting in settings(read_recipe(name, ["seed=3"]).recipe)}

    assert listed["seed"].value == 3
    assert listed["out"].line == "folder of weights, checkpoints and journal; a run resumes from it"
    assert "phases.0.global_batch" in listed
    assert [setting.name for setting in listed.values() if not setting.line] == []


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("global_batch", "phases.0.global_batch"),  # not rate_batch, which is spelt alike
        ("batch_size", "phases.0.global_batch"),
        ("phases.0.batch", "phases.0.global_batch"),
        ("lr", "learning_rate"),
        ("leraning_rate", "learning_rate"),
        ("area", "loss.area"),
        ("loss.are", "loss.area"),
        ("accum_freq", "micro_batch"),
        ("peak_learning", "learning_rate"),
    ],
)
def test_a_wrong_name_suggests_the_setting_that_it_means(wrong: str, meant: str) -> None:
    with pytest.raises(RecipeError, match=rf"{wrong}: no such setting; did you mean {meant}\? \(got 8\)"):
        read_recipe("tcl", [f"{wrong}=8"])


@pytest.mark.parametrize(
    ("earlier", "now"),
    [
        ("below", "base_weights"),
        ("lone", "single_point_prompts"),
        ("sure", "unambiguous_prompts"),
        ("sets.voc.nothing", "background_value"),
        ("sets.voc.every", "frame_stride"),
        ("sets.voc.shares", "share"),
    ],
)
def test_a_name_that_this_recipe_had_or_nearly_has_is_refused_with_its_own(earlier: str, now: str) -> None:
    with pytest.raises(RecipeError, match=rf"{earlier}: no such setting; did you mean {now}\?"):
        read_recipe("tiny-prompts", [f"{earlier}=8"])


def test_a_name_that_means_nothing_suggests_nothing() -> None:
    for name in ("qqq", "lone"):  # the second is of other recipes
        with pytest.raises(RecipeError, match=rf"{name}: no such setting \(got 8\)"):
            read_recipe("tcl", [f"{name}=8"])


def test_recipes_look_for_data_in_the_folder_that_they_run_in() -> None:
    assert RunRecipe.model_fields["data"].default == Path("data")
    values = [(name, setting.value) for name in recipes() for setting in settings(read_recipe(name).recipe)]
    assert [(name, value) for name, value in values if ".." in Path(str(value)).parts] == []
