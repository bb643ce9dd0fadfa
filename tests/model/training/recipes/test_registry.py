"""Recipes are found where methods lie, and imported when one is asked for."""

from __future__ import annotations

import subprocess
import sys

import pytest

from lexiseg_model.errors import RecipeError
from lexiseg_model.training.recipes.registry import find, recipes, training_of


def test_recipes_of_ours_have_a_short_run_each() -> None:
    names = recipes().keys()

    assert {"tiny", "tiny-prompts", "tiny-names"} <= names
    assert {f"{name}-smoke" for name in names if not name.endswith("-smoke")} <= names


def test_every_recipe_of_ours_says_what_it_is_in_a_line() -> None:
    assert {name: file.summary for name, file in recipes().items() if not 10 < len(file.summary) < 160} == {}


@pytest.mark.usefixtures("acme")
def test_a_method_of_another_distribution_contributes_recipes_without_being_imported() -> None:
    file = recipes()["acme"]

    assert (file.method.name, file.summary) == ("acme", "How acme is trained: on drawings")
    assert "acme_seg.training" not in sys.modules
    assert training_of(file).recipe.__name__ == "AcmeRecipe"


def test_an_unknown_recipe_is_answered_with_those_there_are() -> None:
    with pytest.raises(RecipeError, match=r"no recipe 'huge'; there is: .*tiny, tiny-names"):
        find("huge")


@pytest.mark.usefixtures("acme")
def test_a_file_that_no_training_stands_for_is_named() -> None:
    with pytest.raises(RecipeError, match=r"acme-stray\.yaml: method acme trains acme; `recipe:` names one of them"):
        training_of(find("acme-stray"))


def test_recipes_are_listed_and_those_of_tiny_read_without_torch() -> None:
    program = (
        "import sys\n"
        "from lexiseg_model.training.recipes.read import read_recipe\n"
        "from lexiseg_model.training.recipes.registry import recipes\n"
        "named = recipes()\n"
        "planned = [read_recipe(name) for name, file in named.items() if file.method.name == 'tiny']\n"
        "print(*[each.training.start(each.recipe) for each in planned], sep='\\n')\n"
        "sys.exit('torch' in sys.modules)\n"
    )

    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert answer.returncode == 0, answer.stderr or "torch came along"
    assert answer.stdout.splitlines().count("random weights") >= 1
