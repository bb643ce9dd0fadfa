"""The model card of a finished run: figures and terms of the data."""

import json
from pathlib import Path

import pytest

from lexiseg_model.cards import ModelCard, PromptQuality, Quality
from lexiseg_train.training.model_card import licence_line, lineage, origin_fields
from lexiseg_train.training.recipe import Phase, RunRecipe
from tests.model.stand_in import card as others_card


@pytest.fixture
def recipe(tmp_path: Path) -> RunRecipe:
    return RunRecipe(
        recipe="acme", out=tmp_path, steps=400, seed=6, phases=[Phase(after=0, crop=64, global_batch=4)],
        learning_rate=0.1, warmup_steps=1, weight_decay=0, average_decay=0, checkpoint_minutes=1,
    )  # fmt: skip


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


def test_figures_of_the_start_are_not_copied_to_the_new_card(
    recipe: RunRecipe, other: ModelCard, tmp_path: Path
) -> None:
    (tmp_path / "weights.safetensors").write_bytes(b"weights")

    card = other.model_copy(update=origin_fields(recipe, tmp_path / "weights.safetensors"))

    assert (card.name, card.version, card.seed, card.recipe) == (tmp_path.name, "1", 6, "recipe.yaml")
    assert (card.quality, card.prompt_quality) == ({}, {})
    assert card.licence.startswith("Not stated")
    assert card.commercial_use == "ask"
    assert card.limits != other.limits
    assert card.weights_sha256 is not None
    assert card.weights_sha256 != other.weights_sha256


@pytest.mark.parametrize(("best", "told"), [({}, "step 400: rank 20."), ({"best_step": 200}, "step 200: rank 10.")])
def test_the_card_has_the_held_out_figures_of_the_weights(
    recipe: RunRecipe, best: dict[str, int], told: str, tmp_path: Path
) -> None:
    entries = [{"step": step, "validation": True, "rank": step / 20, **best} for step in (200, 400)]
    lines = [json.dumps(entry) for entry in ({"step": 1, "loss": 2.0}, *entries, {"step": 400, "loss": 1.0})]
    (tmp_path / "journal.jsonl").write_text("\n".join([*lines, '{"step": 4']))

    assert lineage(recipe, "").endswith(f"Loss: 2 at step 1, 1 at step 400. Held out, {told}")


@pytest.mark.parametrize(
    ("stated", "below", "expected"),
    [
        (None, "yes", ("Theirs.", "yes")),
        (None, "no", ("Theirs.", "no")),
        ("Ours.", "no", ("Ours.", "no")),
        ("Ours.", "yes", ("Ours.", "ask")),
    ],
)
def test_the_terms_of_the_start_are_kept(
    stated: str | None, below: str, expected: tuple[str, str], recipe: RunRecipe, other: ModelCard, tmp_path: Path
) -> None:
    (tmp_path / "weights.safetensors").write_bytes(b"weights")
    start = other.model_copy(update={"commercial_use": below})

    fields = origin_fields(recipe.model_copy(update={"licence": stated}), tmp_path / "weights.safetensors", below=start)

    assert (fields["licence"], fields["commercial_use"]) == expected


@pytest.mark.parametrize("name", ["LICENSE", "licence.txt", "COPYING.md"])
def test_the_card_quotes_the_first_line_of_a_licence(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("\n# CC BY 4.0\n\nLong text.")

    assert licence_line(tmp_path) == "CC BY 4.0"
