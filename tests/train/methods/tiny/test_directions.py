"""Directions of training's own words: that words are found better by them, and which cells they are learned from."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.catalogue.weights import file_digest
from lexiseg_model.methods.tiny.network import OWN_WORDS
from lexiseg_model.methods.tiny.segmenter import TinySegmenter
from lexiseg_model.methods.tiny.weights import BUNDLED, FOLDER
from lexiseg_train.data.indexed import IGNORE, read_dataset
from lexiseg_train.evaluation.run import evaluate
from lexiseg_train.methods.tiny.directions.cells import NO_PARTS, NOTHING, Part, Parts, draw
from lexiseg_train.methods.tiny.directions.trainer import DirectionsTrainer
from lexiseg_train.methods.tiny.trainings import DirectionsRecipe
from tests.train.methods.short_runs import Finished, finished, read_as
from tests.train.methods.tiny.shapes import write_shapes


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Finished[DirectionsRecipe]:
    root = tmp_path_factory.mktemp("directions")
    data = write_shapes(write_shapes(root / "data", count=24), count=4, split="val")
    values = [f"data={data}", f"out={root / 'run'}", f"packs={root / 'packs'}", "sets={shapes: 1}", "steps=240"]
    values += ["decay_steps=120", "warmup_steps=5", "average_decay=0.9", "workers=0", "device=cpu", "strength=1"]
    return finished(DirectionsTrainer(read_as(DirectionsRecipe, "tiny-directions", values)))


def test_words_are_found_better_in_photographs_that_training_did_not_see(run: Finished[DirectionsRecipe]) -> None:
    by_text, by_directions = (_model(weights) for weights in (BUNDLED, run.weights))
    by_text.network.own_words = None

    before, after = (_miou(model, run.recipe.data) for model in (by_text, by_directions))

    assert np.mean(run.losses[-5:]) < 0.5 * np.mean(run.losses[:5])
    assert after > before + 5


def _model(weights: Path) -> TinySegmenter:
    card = catalogue.read_card(FOLDER).model_copy(update={"weights_sha256": file_digest(weights)})
    model = catalogue.load_folder(weights.parent, "cpu", "exact", card=card)
    assert isinstance(model, TinySegmenter)
    return model


def _miou(model: TinySegmenter, data: Path) -> float:
    return evaluate(model, read_dataset(data, "shapes", "val")).scores.miou


def test_all_else_keeps_its_bits(run: Finished[DirectionsRecipe]) -> None:
    before, after = load_file(BUNDLED), load_file(run.weights)
    kept = {name for name in before if not name.startswith(OWN_WORDS)}

    assert {name for name in after if not name.startswith(OWN_WORDS)} == kept
    assert all(torch.equal(before[name], after[name]) for name in kept)


def test_a_part_lies_within_its_whole_and_what_lies_on_it_above() -> None:
    mask = np.zeros((40, 40), np.uint8)
    mask[:, :30] = 1
    parts = Parts(Path("none"))
    parts.names = ["eye", "head", "leg"]
    marked = [
        Part("leg", (0, 20, 40, 40), "dog"),
        Part("head", (0, 0, 20, 20), "dog"),
        Part("eye", (8, 8, 12, 12), "dog"),
    ]

    values = parts.mask(marked, mask, ("background", "dog"))

    assert [values[y, x] for y, x in ((10, 10), (5, 10), (0, 0), (30, 29), (30, 30))] == [1, 2, NOTHING, 3, NOTHING]
    assert (values == IGNORE).any()  # the rim of what is round


def test_small_things_are_drawn_beside_what_falls() -> None:
    value, part = np.zeros(8000, np.uint8), np.full(8000, NO_PARTS, np.uint8)
    value[:7] = 3
    value[7:100] = IGNORE

    rows, n_fallen = draw(value, part, np.random.default_rng(0))

    assert set(range(7)) <= set(rows[n_fallen:].tolist())
    assert not (value[rows] == IGNORE).any()
