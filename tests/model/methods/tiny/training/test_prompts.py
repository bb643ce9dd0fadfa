"""Training of the prompt head on a few drawn images."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from lexiseg_model import catalogue
from lexiseg_model.methods.tiny.training.prompts import Example, PromptTrainer
from lexiseg_model.methods.tiny.training.publish import publish_prompts
from lexiseg_model.methods.tiny.training.recipe import PromptsRecipe
from lexiseg_model.methods.tiny.weights import BUNDLED, TinyState
from lexiseg_model.training.publishing import measure_prompts
from lexiseg_model.training.recipes.read import read_as
from lexiseg_model.types import ModelCard
from tests.model.methods.tiny.training.shapes import write_shapes

STEPS = 24


class Recorded(PromptTrainer):
    """Remembers the loss of every step."""

    def __init__(self, recipe: PromptsRecipe) -> None:
        super().__init__(recipe)
        self.losses: list[float] = []

    def _step(self, batch: list[Example], *more: list[Example]) -> float:
        self.losses.append(super()._step(batch, *more))
        return self.losses[-1]


class Run(NamedTuple):
    """A finished run of STEPS steps."""

    recipe: PromptsRecipe
    weights: Path
    losses: list[float]


def recipe_for(data: Path, out: Path, *more: str) -> PromptsRecipe:
    return read_as(
        PromptsRecipe,
        "tiny-prompts",
        [
            f"data={data}",
            f"out={out}",
            "sets={shapes: {share: 1.0, nothing: 0}}",
            f"steps={STEPS}",
            "decay_steps=0",
            "start=scratch",
            "corrected=1",
            "phases=[{after: 0.0, crop: 64, global_batch: 4}]",
            "lone=3",
            "sure=2",
            "warmup_steps=3",
            "average_decay=0.9",
            "workers=0",
            "device=cpu",
            "precision=float32",
            *more,
        ],
    )


def train(recipe: PromptsRecipe) -> Recorded:
    trainer = Recorded(recipe)
    trainer.train()
    return trainer


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = write_shapes(tmp_path_factory.mktemp("data"))
    return write_shapes(data, count=4, split="val")


@pytest.fixture(scope="module")
def run(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    recipe = recipe_for(shapes, tmp_path_factory.mktemp("run") / "mine")
    trainer = train(recipe)
    yield Run(recipe, recipe.out / "tiny.safetensors", trainer.losses)
    shutil.rmtree(recipe.out)


@pytest.fixture(scope="module")
def card(run: Run) -> ModelCard:
    return publish_prompts(run.recipe, run.weights)


def test_training_lowers_the_loss(run: Run) -> None:
    assert len(run.losses) == STEPS
    assert np.mean(run.losses[-4:]) < 0.8 * np.mean(run.losses[:2])


def test_prompt_training_does_not_change_the_network(run: Run) -> None:
    before, after = (TinyState.of(load_file(path)).network for path in (BUNDLED, run.weights))

    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_the_card_names_the_task_and_the_weights(run: Run, card: ModelCard) -> None:
    assert "prompt" in card.tasks
    assert card.name == "mine"
    assert card.weights_sha256 == hashlib.sha256(run.weights.read_bytes()).hexdigest()
    seen = f"masks of shapes ({run.recipe.data / 'shapes'}); its terms are not stated"
    assert seen in card.training_data


def test_the_card_states_the_prompt_quality_on_validation(run: Run, card: ModelCard) -> None:
    reached = card.prompt_quality["shapes"]

    assert reached.objects > 2
    served = catalogue.load_folder(run.recipe.out, run.recipe.device)
    assert reached == measure_prompts(served, run.recipe.data, "shapes")
    assert catalogue.read_card(run.recipe.out) == card
