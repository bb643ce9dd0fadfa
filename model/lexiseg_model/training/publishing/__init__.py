"""The card of a finished run: what belongs to these weights alone, and nothing of another model's card."""

from __future__ import annotations

from pathlib import Path

import yaml

from lexiseg_model.catalogue.method import CARD
from lexiseg_model.catalogue.weights import file_digest, let_others_read
from lexiseg_model.training.publishing.commit import commit
from lexiseg_model.training.publishing.curve import in_words, read_curve
from lexiseg_model.training.publishing.terms import UNSTATED, with_terms
from lexiseg_model.training.recipe import RunRecipe
from lexiseg_model.types import ModelCard

__all__ = ["commit", "lineage", "origin", "with_terms", "write_card"]

RECIPE_FILE = "recipe.yaml"  # which a run writes beside its weights


def origin(recipe: RunRecipe, weights: Path) -> dict[str, object]:
    """Fields of a card that say where its weights come from; those that were measured of others are emptied.

    A card that is built on a method's bundled one is updated with these, and with `training_data` and `lineage`: then
    nothing is left of it but what the code is and how it is asked.
    """
    measured = "Nothing is known of it beyond what was measured on validation splits of its own data."
    return {
        "name": weights.parent.name,
        "version": "1",
        "licence": recipe.licence or UNSTATED,
        "commercial_use": "ask",
        "recipe": RECIPE_FILE,
        "lineage": lineage(recipe, ""),
        "commit": commit(),
        "seed": recipe.seed,
        "weights_sha256": file_digest(weights),
        "quality": {},
        "prompt_quality": {},
        "limits": [measured],
    }


def lineage(recipe: RunRecipe, start: str) -> str:
    """What the weights started from, how long they were trained, and how the loss went.

    Args:
        recipe: of the run; its journal, where there is one, lies in `out`.
        start: in words, as of `Training.start`.
    """
    begun = f" from {start}" if start else ""
    curve = in_words(read_curve(recipe.out))
    return f"{recipe.length} of the recipe {recipe.recipe!r}{begun}, seed {recipe.seed}.{curve}"


def write_card(card: ModelCard, folder: Path) -> None:
    """`card.yaml` of a model directory, whose files other users may then read: a worker is often another."""
    text = yaml.safe_dump(card.model_dump(mode="json"), sort_keys=False, width=120, allow_unicode=True)
    (folder / CARD).write_text(text, encoding="utf-8")
    let_others_read(folder)
