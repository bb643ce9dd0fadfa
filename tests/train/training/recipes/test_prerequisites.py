"""Recipes that a recipe depends on: trained once, and resumed after a stop."""

from pathlib import Path

import pytest

from lexiseg_train.methods.dense_clip.trainings import ClipRecipe
from lexiseg_train.training.recipes.prerequisites import (
    PUBLIC,
    is_finished,
    lacks_pairs,
    lacks_prerequisite,
    train_prerequisites,
    untrained_prerequisites,
)
from lexiseg_train.training.recipes.read import Planned, read_recipe
from lexiseg_train.training.recipes.training import Prerequisite
from lexiseg_train.training.run import Run
from tests.train.methods.short_runs import read_as
from tests.train.training.pairs_folder import write_pairs


def above(tmp_path: Path, file: Path) -> Planned:
    """TCL over a CLIP that another recipe is to write to `file`."""
    write_pairs(tmp_path / "captions", 8)
    values = [f"data={tmp_path}", "seed=3", "device=cpu", f"clip={file}", f"clip_recipe={small(tmp_path)}"]
    return read_recipe("tcl-smoke", [*values, "held_out=2"])


def small(tmp_path: Path) -> Path:
    """A recipe below, laid over `clip-smoke`: two steps."""
    path = tmp_path / "below.yaml"
    phases = "[{after: 0.0, crop: 64, global_batch: 2}]"
    path.write_text(f"recipe: clip-smoke\nsteps: 2\ndecay_steps: 0\nworkers: 0\nphases: {phases}\n")
    return path


def test_a_prerequisite_is_trained_once_with_the_seed_and_pairs_of_its_dependant_and_resumes_after_a_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "clip" / "clip.safetensors"
    planned = above(tmp_path, file)
    assert [first.recipe.out for first in untrained_prerequisites(planned)] == [tmp_path / "clip"]
    with monkeypatch.context() as stopped:
        stopped.setattr(Run, "progress", 0.5)
        stopped.setattr(Run, "_run_steps", lambda *_: "SIGTERM at step 1; start it again to resume")
        ending = train_prerequisites(planned)

    assert ending.endswith("below.yaml: SIGTERM at step 1; start it again to resume")
    assert file.exists()  # it writes weights along the way, too
    assert not is_finished(file)
    assert train_prerequisites(planned) == ""
    assert is_finished(file)
    written = file.stat().st_mtime_ns
    assert train_prerequisites(planned) == ""
    assert file.stat().st_mtime_ns == written
    trained = (tmp_path / "clip" / "recipe.yaml").read_text()
    assert "seed: 3\n" in trained
    assert "held_out: 2\n" in trained
    assert (tmp_path / "clip" / "card.yaml").is_file()
    assert list(untrained_prerequisites(planned)) == []


def test_a_missing_file_of_a_prerequisite_is_reported_by_its_dependant(tmp_path: Path) -> None:
    recipe = read_as(ClipRecipe, "clip-smoke", [f"data={tmp_path}"])
    below = [Prerequisite("clip", tmp_path / "clip.safetensors", "clip-smoke")]

    assert "captioned photographs" in (lacks_prerequisite(below, recipe) or "")
    assert PUBLIC in (lacks_pairs(tmp_path, [Path("captions")]) or "")
    assert (Path(__file__).parents[4] / PUBLIC).is_file()
    write_pairs(tmp_path / "captions", 2)
    assert lacks_pairs(tmp_path, [Path("captions")]) is None
    assert lacks_prerequisite(below, recipe) is None
