"""Training the presence head on a frozen network."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from lexiseg_model.methods.tiny.training.names import NamesBatch, NamesTrainer
from lexiseg_model.methods.tiny.training.recipe import NamesRecipe
from lexiseg_model.methods.tiny.weights import BUNDLED, TinyState
from lexiseg_model.training.recipes.read import read_as
from tests.model.methods.tiny.training.shapes import write_shapes
from tests.model.methods.tiny.training.weak import write_names

STEPS = 30


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> NamesRecipe:
    folder = tmp_path_factory.mktemp("names")
    write_names(write_shapes(folder))
    sets = (
        "{shapes: {share: 0.8, photographs: 12, short_side: 64}, named: {share: 0.2, photographs: 2, short_side: 64}}"
    )
    return read_as(
        NamesRecipe,
        "tiny-names",
        [
            f"data={folder}",
            f"out={folder / 'out'}",
            f"packs={folder / 'packs'}",
            f"cells={folder / 'cells'}",
            f"sets={sets}",
            f"steps={STEPS}",
            "decay_steps=10",
            "warmup_steps=1",
            "average_decay=0.5",
            "phases=[{after: 0.0, crop: 64, global_batch: 8}]",
        ],
    )


def test_training_lowers_the_loss_and_changes_only_the_presence_head(recipe: NamesRecipe) -> None:
    losses: list[float] = []

    class Recorded(NamesTrainer):
        def _step(self, batch: NamesBatch, *more: NamesBatch) -> float:
            losses.append(super()._step(batch, *more))
            return losses[-1]

    trainer = Recorded(recipe)

    weights = trainer.train()

    assert weights is not None
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:2])
    before, after = (TinyState.of(load_file(path)) for path in (BUNDLED, weights))
    kept = {name for name, value in before.network.items() if torch.equal(value, after.network[name])}
    changed = {name.split(".")[0] for name in after.network.keys() - kept}
    assert changed <= {"image_head", "evidence", "presence_log_scale", "presence_bias"}
    assert {"image_head", "evidence"} <= changed
    assert all(torch.equal(value, before.prompts[name]) for name, value in after.prompts.items())
