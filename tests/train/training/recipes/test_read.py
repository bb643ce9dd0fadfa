"""Recipes by name or from a file: registry, order of layers, overrides, error messages."""

import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from lexiseg_model.errors import RecipeError
from lexiseg_train.training.recipe import RunRecipe
from lexiseg_train.training.recipes.read import read_recipe, recipes, settings, training_of
from tests.command import ended

pytestmark = pytest.mark.usefixtures("acme")


def read(name: str, *overrides: str) -> Any:
    return read_recipe(name, overrides).recipe


def test_a_derived_recipe_changes_only_the_values_it_names() -> None:
    smoke, whole = read("acme-smoke"), read("acme")

    assert (smoke.recipe, smoke.steps, smoke.loss.area, smoke.loss.tv) == ("acme-smoke", 5, 0.4, 0.5)
    assert (whole.recipe, whole.steps, whole.loss.tv) == ("acme", 100, 1.0)


def test_dotted_overrides_come_last() -> None:
    recipe = read("acme-smoke", "loss.area=0.3", "sets.ours=3", "phases.1.global_batch=7", "steps=8")

    assert (recipe.loss.area, recipe.loss.tv, recipe.steps) == (0.3, 0.5, 8)
    assert recipe.sets == {"ours": 3, "theirs": 2}
    assert [phase.global_batch for phase in recipe.phases] == [4, 7]


def test_a_mapping_is_merged_into_a_part_and_replaces_a_collection() -> None:
    recipe = read("acme-smoke", "loss={area: 0.3}", "rest={area: 1, tv: 2}", "rest.tv=3", "sets={mine: 1}")

    assert (recipe.loss.area, recipe.loss.tv, recipe.sets) == (0.3, 0.5, {"mine": 1})
    assert (recipe.rest.area, recipe.rest.tv) == (1, 3)
    assert read("acme-smoke", "rest={area: 1, tv: 2}", "rest=null").rest is None


@pytest.mark.parametrize("words", [("data=sets", "data.licence=fair"), ("data.licence=fair", "data=sets")])
def test_a_folder_and_the_licence_of_its_photographs_stand_together(words: tuple[str, ...]) -> None:
    recipe = read("tiny", "start=scratch", *words)

    assert (recipe.data, recipe.licences) == (Path("sets"), "fair")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("steps.more=1", "'steps.more': 5 has no 'more'"),
        ("steps.more.deep=1", "'steps.more.deep': 5 has no 'more'"),
        ("phases.2.crop=1", "'phases.2.crop': '2' is not one of 0 to 1"),
        ("phases.last=1", "'phases.last': 'last' is not one of 0 to 1"),
        *((wrong, "is not key=value, such as steps=30") for wrong in ("steps", "", "steps 30", "=3")),
    ],
)
def test_an_override_that_cannot_be_laid_is_refused_with_its_last_valid_part(override: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        read("acme-smoke", override)


def test_a_recipe_file_extends_the_recipe_it_names(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("recipe: acme-smoke\nloss: {area: 0.1}\nsets: {mine: 1}\n")

    planned = read_recipe(str(path), ["seed=4"])

    recipe: Any = planned.recipe
    assert (planned.name, recipe.recipe, recipe.steps, recipe.seed) == (str(path), "acme-smoke", 5, 4)
    assert (recipe.loss.area, recipe.loss.tv, recipe.sets) == (0.1, 0.5, {"mine": 1})


@pytest.mark.parametrize("name", ["acme-smoke", "tiny", "tiny-prompts"])
def test_the_recipe_that_a_run_writes_can_be_run_again(name: str, tmp_path: Path) -> None:
    recipe = read(name, "seed=9", "out=elsewhere")
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe.model_dump(mode="json")))

    assert read(str(tmp_path / "recipe.yaml")) == recipe


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("steps: 3\n", "does not name the recipe that it changes; begin it with `recipe: NAME`"),
        ("recipe: huge\n", "no recipe 'huge'; known recipes: "),
        ("- 3\n", "is not a recipe: expected keys and values, got list"),
        ("recipe: [\n", r"is not a recipe: .* line 2, column 1:"),
    ],
)
def test_an_invalid_recipe_file_is_refused_with_the_reason(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)

    with pytest.raises(RecipeError, match=message):
        read(str(path))


def test_a_recipe_whose_loss_needs_whole_weights_is_not_sharded() -> None:
    with pytest.raises(RecipeError, match="recipe 'finetune': sharding: Input should be 'none'"):
        read("finetune", "start=tiny", "sharding=full")


def test_circular_recipes_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "site" / "acme_seg" / "training" / "recipes"
    (folder / "one.yaml").write_text("recipe: two\n")
    (folder / "two.yaml").write_text("recipe: one\n")

    with pytest.raises(RecipeError, match="recipe 'one' builds on itself: one, two, one"):
        read("one")


def test_one_budget_replaces_another() -> None:
    by_time = read("tiny", "minutes=15")

    assert (by_time.steps, by_time.minutes, by_time.length) == (None, 15, "15 minutes")
    assert by_time.decay_share == read("tiny").decay_steps / (read("tiny").steps or 0)
    assert read("tiny", "minutes=15", "steps=30", "decay_share=0").length == "30 steps"


@pytest.mark.usefixtures("acme")
def test_recipes_of_a_third_party_method_are_listed_without_importing_it() -> None:
    file = recipes()["acme"]

    assert (file.method.name, file.summary) == ("acme", "How acme is trained: on drawings")
    assert "acme_seg.training" not in sys.modules
    assert training_of(file).recipe.__name__ == "AcmeRecipe"


def test_recipes_of_tiny_are_read_without_importing_torch() -> None:
    program = (
        "import sys\n"
        "from lexiseg_train.training.recipes.read import read_recipe, recipes\n"
        "for name, file in recipes().items():\n"
        "    if file.method.name == 'tiny':\n"
        "        read_recipe(name)\n"
        "sys.exit('torch' in sys.modules)\n"
    )

    answer = ended([sys.executable, "-c", program])

    assert answer.returncode == 0, answer.stderr or "torch was imported"


@pytest.mark.parametrize("name", ["tcl", "s-seg", "s-seg-plus-smoke", "unpair-seg-align", "clip"])
def test_every_setting_has_a_line(name: str) -> None:
    listed = {setting.name: setting for setting in settings(read(name, "seed=3"))}

    assert listed["seed"].value == 3
    assert listed["out"].line == "folder of weights, checkpoints and journal; a run resumes from it"
    assert "phases.0.global_batch" in listed
    assert [setting.name for setting in listed.values() if not setting.line] == []


@pytest.mark.parametrize(
    ("recipe", "wrong", "meant"),
    [
        ("tcl", "global_batch", "phases.0.global_batch"),  # not rate_batch, which is spelt alike
        ("tcl", "batch_size", "phases.0.global_batch"),
        ("tcl", "phases.0.batch", "phases.0.global_batch"),
        ("tcl", "lr", "learning_rate"),
        ("tcl", "leraning_rate", "learning_rate"),
        ("tcl", "area", "loss.area"),
        ("tcl", "loss.are", "loss.area"),
        ("tcl", "accum_freq", "micro_batch"),
        ("tcl", "peak_learning", "learning_rate"),
        # Names that the recipe had, or nearly has.
        ("tiny-prompts", "below", "base_weights"),
        ("tiny-prompts", "lone", "single_point_prompts"),
        ("tiny-prompts", "sure", "unambiguous_prompts"),
        ("tiny-prompts", "sets.voc.nothing", "background_value"),
        ("tiny-prompts", "sets.voc.every", "frame_stride"),
        ("tiny-prompts", "sets.voc.shares", "share"),
    ],
)
def test_a_wrong_name_suggests_the_setting_that_it_means(recipe: str, wrong: str, meant: str) -> None:
    with pytest.raises(RecipeError, match=rf"{wrong}: no such setting; did you mean {meant}\? \(got 8\)"):
        read(recipe, f"{wrong}=8")


def test_a_name_that_means_nothing_suggests_nothing() -> None:
    for name in ("qqq", "lone"):  # the second is of other recipes
        with pytest.raises(RecipeError, match=rf"{name}: no such setting \(got 8\)"):
            read("tcl", f"{name}=8")


def test_recipes_look_for_data_in_the_folder_that_they_run_in() -> None:
    assert RunRecipe.model_fields["data"].default == Path("data")
    ours = [name for name in recipes() if not name.startswith("acme")]
    values = [(name, setting.value) for name in ours for setting in settings(read(name))]
    assert [(name, value) for name, value in values if ".." in Path(str(value)).parts] == []
