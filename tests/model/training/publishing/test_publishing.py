"""What a card says of the run that made its weights, and who may read them."""

from __future__ import annotations

from pathlib import Path

import pytest

from lexiseg_model.catalogue import read_card
from lexiseg_model.training.publishing import lineage, origin, write_card
from lexiseg_model.training.publishing.curve import JOURNAL
from lexiseg_model.training.recipe import Phase, RunRecipe
from lexiseg_model.types import ModelCard, PromptQuality, Quality
from tests.model.stand_in import card as others_card


@pytest.fixture
def recipe(tmp_path: Path) -> RunRecipe:
    return RunRecipe(
        recipe="acme",
        out=tmp_path,
        steps=400,
        seed=6,
        phases=[Phase(after=0, crop=64, batch=4)],
        learning_rate=0.1,
        warmup_steps=1,
        weight_decay=0,
        average_decay=0,
        checkpoint_minutes=1,
    )


@pytest.fixture
def other() -> ModelCard:
    """Of a model that was measured."""
    measured = {
        "quality": {"voc": Quality(miou=50.0, pixel_accuracy=80.0, images=9)},
        "prompt_quality": {"voc": PromptQuality(point=50.0, box=80.0, objects=9)},
        "limits": ["Sees no cats."],
        "licence": "Theirs.",
        "version": "7",
    }
    return others_card(name="other").model_copy(update=measured)


def test_nothing_that_was_measured_of_other_weights_stays(recipe: RunRecipe, other: ModelCard, tmp_path: Path) -> None:
    (tmp_path / "weights.safetensors").write_bytes(b"weights")

    card = other.model_copy(update=origin(recipe, tmp_path / "weights.safetensors"))

    assert (card.name, card.version, card.seed, card.recipe) == (tmp_path.name, "1", 6, "recipe.yaml")
    assert (card.quality, card.prompt_quality) == ({}, {})
    assert card.licence.startswith("Not stated")
    assert card.commercial_use == "ask"
    assert card.limits != other.limits
    assert card.weights_sha256 is not None
    assert card.weights_sha256 != other.weights_sha256


def test_lineage_tells_the_start_and_how_the_loss_went(recipe: RunRecipe, tmp_path: Path) -> None:
    (tmp_path / JOURNAL).write_text('{"step": 50, "loss": 2.0}\n{"step": 400, "loss": 0.5}\n')

    told = lineage(recipe, "random weights")

    expected = "400 steps of the recipe 'acme' from random weights, seed 6. Loss: 2 at step 50, 0.5 at step 400."
    assert told == expected


def test_a_finished_directory_can_be_read_by_other_users(other: ModelCard, tmp_path: Path) -> None:
    weights = tmp_path / "weights.safetensors"
    weights.touch(mode=0o600)

    write_card(other, tmp_path)

    assert {path.stat().st_mode & 0o444 for path in tmp_path.iterdir()} == {0o444}
    assert read_card(tmp_path) == other
