"""What every published training says of itself, and the file that says it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import yaml

from lexiseg_model.method import CARD
from lexiseg_model.training.recipe import RunRecipe
from lexiseg_model.types import ModelCard
from lexiseg_model.weights import file_digest


def origin(recipe: RunRecipe, weights: Path) -> dict[str, object]:
    """Fields of a card that say where its weights come from."""
    return {
        "name": weights.parent.name,
        "commit": commit(),
        "seed": recipe.seed,
        "weights_sha256": file_digest(weights),
        "quality": {},
    }


def write_card(card: ModelCard, folder: Path) -> None:
    """`card.yaml` of a model directory."""
    text = yaml.safe_dump(card.model_dump(mode="json"), sort_keys=False, width=120, allow_unicode=True)
    (folder / CARD).write_text(text)


def commit() -> str:
    """Of the code that trains, or "unknown" outside a repository."""
    command = ["git", "rev-parse", "--short", "HEAD"]
    answer = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    return answer.stdout.strip() or "unknown"
