"""What a recipe stands on is trained once, and gone on with where it was stopped."""

from __future__ import annotations

from pathlib import Path

import pytest

from lexiseg_model.errors import RecipeError
from lexiseg_model.methods.dense_clip.training.recipe import ClipRecipe
from lexiseg_model.training.recipes.below import lacks_below, lacks_pairs, train_below
from lexiseg_model.training.recipes.read import read_as
from tests.model.training.pairs_folder import write_pairs


def above(tmp_path: Path) -> ClipRecipe:
    """Any recipe: its data, seed and device are what counts."""
    write_pairs(tmp_path / "captions", 8)
    return read_as(ClipRecipe, "clip-smoke", [f"data={tmp_path}", "seed=3", "device=cpu"])


def small(tmp_path: Path) -> Path:
    """A recipe below, laid over `clip-smoke`: two steps."""
    path = tmp_path / "below.yaml"
    phases = "[{after: 0.0, crop: 64, batch: 2}]"
    path.write_text(f"recipe: clip-smoke\nsteps: 2\ndecay_steps: 0\nheld_out: 0\nworkers: 0\nphases: {phases}\n")
    return path


def test_it_is_trained_with_the_seed_of_the_one_above_and_then_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "clip" / "clip.safetensors"

    train_below(file, str(small(tmp_path)), above(tmp_path))
    written = file.stat().st_mtime_ns
    train_below(file, str(small(tmp_path)), above(tmp_path / "elsewhere"))

    assert file.stat().st_mtime_ns == written
    assert "seed: 3" in (tmp_path / "clip" / "recipe.yaml").read_text()
    assert (tmp_path / "clip" / "card.yaml").is_file()


def test_another_file_than_the_expected_one_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"has written .*clip\.safetensors; expected .*towers\.safetensors"):
        train_below(tmp_path / "clip" / "towers.safetensors", str(small(tmp_path)), above(tmp_path))


def test_what_lacks_below_is_said_above(tmp_path: Path) -> None:
    recipe = read_as(ClipRecipe, "clip-smoke", [f"data={tmp_path}"])

    assert "captioned photographs" in (lacks_below(tmp_path / "clip.safetensors", "clip-smoke", recipe) or "")
    assert lacks_pairs(tmp_path, [Path("captions")]) is not None
    write_pairs(tmp_path / "captions", 2)
    assert lacks_pairs(tmp_path, [Path("captions")]) is None
