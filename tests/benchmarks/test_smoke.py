"""Compare training runs over several seeds."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import smoke
from benchmarks.smoke import measured, summary
from lexiseg_model.training.recipes.read import Planned
from lexiseg_model.training.run import Run
from tests.model.training.pairs_folder import write_pairs


def test_a_gain_is_over_the_start_of_the_same_seed() -> None:
    runs = {"untrained": [30.0, 40.0], "trained": [28.0, 38.0], "control": [31.0, 42.0]}

    figure = summary("tcl-smoke", [], {"own_rank": runs})["figures"]["own_rank"]

    assert figure["trained_gain"] == {"mean": 2.0, "spread": 0.0, "runs": [2.0, 2.0]}
    assert figure["control_gain"]["runs"] == [-1.0, -2.0]


def test_what_a_recipe_stands_on_is_of_its_seed_down_to_the_ground(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    trained: list[tuple[Path, list[Path]]] = []

    def train(first: Planned) -> str:
        trained.append((first.recipe.out, [each.file for each in first.training.below(first.recipe)]))
        return ""

    monkeypatch.setattr(smoke, "train_whole", train)
    smoke._train_below(smoke._planned("unpair-seg-align-smoke", "control", 2, []))

    root = Path("runs/smoke")
    clip = root / "clip-convnext-smoke" / "trained-2"
    assert trained == [(clip, []), (root / "unpair-seg-masks-smoke" / "trained-2", [clip / "clip.safetensors"])]


def test_runs_that_were_measured_are_neither_trained_nor_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_pairs(tmp_path / "captions", 8)
    short = ["data=.", "steps=2", "decay_steps=0", "held_out=4", "phases.0.global_batch=2", "device=cpu"]
    first = measured("clip-smoke", 1, short)
    with monkeypatch.context() as idle:
        idle.setattr(Run, "train", None)
        idle.setattr(Run, "figures", None)
        again = measured("clip-smoke", 1, short)

    assert again == first
    assert {condition: len(values) for condition, values in first["held_out_loss"].items()} == {
        "untrained": 1,
        "trained": 1,
        "control": 1,
    }
