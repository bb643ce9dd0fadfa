"""A pair of towers from captions: CLIP's loss and a file in CLIP's layout."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.clip.towers import clip_from_files
from lexiseg_model.methods.dense_clip.segmenter import DenseClipSegmenter
from lexiseg_train.methods.dense_clip.trainer import FILE, PairTrainer, publish
from lexiseg_train.methods.dense_clip.trainings import ClipRecipe
from tests.train.methods.short_runs import first_batch, read_as
from tests.train.training.pairs_folder import write_pairs

MINI = "lexiseg-mini-16"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_pairs(folder / "captions", 8)
    return folder


def recipe(data: Path, out: Path, **changes: Any) -> ClipRecipe:
    values = read_as(ClipRecipe, "clip-smoke").model_dump(mode="json")
    ours = {
        "data": data, "out": out, "held_out": 4, "precision": "float32", "steps": 2, "decay_steps": 1,
        "validate_steps": 2, "device": "cpu", "workers": 0, "phases": [{"after": 0.0, "crop": 64, "global_batch": 4}],
    }  # fmt: skip
    return ClipRecipe.model_validate(values | ours | changes)


@torch.no_grad()
def test_the_loss_equals_the_formula_of_the_paper(data: Path, tmp_path: Path) -> None:
    trainer = PairTrainer(recipe(data, tmp_path))
    batch = first_batch(trainer)

    loss = trainer._loss(batch).item()

    model = trainer.network.clip
    images, texts = model.encode_image(batch.images), model.encode_text(batch.tokens)
    logits = [
        [math.exp(model.logit_scale) * float(torch.cosine_similarity(i, t, dim=0)) for t in texts] for i in images
    ]
    columns = [list(column) for column in zip(*logits, strict=True)]
    terms = [
        math.log(sum(map(math.exp, row))) - row[index] for rows in (logits, columns) for index, row in enumerate(rows)
    ]
    assert loss == pytest.approx(sum(terms) / 8, rel=1e-4)


def test_the_pair_is_read_as_any_clip_with_quick_gelu_and_serves(data: Path, tmp_path: Path) -> None:
    plan = recipe(data, tmp_path / "mine")

    weights = PairTrainer(plan).train()

    assert weights == tmp_path / "mine" / FILE
    assert clip_from_files(MINI, [weights]).quick_gelu  # told by the file beside it
    publish(plan, weights)
    segmenter = catalogue.load("mine", models_dir=tmp_path, device="cpu")
    assert isinstance(segmenter, DenseClipSegmenter)
    assert segmenter.settings.architecture == MINI
    features = segmenter.encode(np.random.default_rng(0).integers(0, 256, (64, 80, 3), np.uint8))
    assert all(value.isfinite().all() for value in features.tensors.values())


def test_a_control_sees_the_same_photographs_under_other_captions(data: Path, tmp_path: Path) -> None:
    ours, control = (PairTrainer(recipe(data, tmp_path, mismatched=wrong)) for wrong in (False, True))

    batches = [first_batch(each) for each in (ours, control)]

    assert torch.equal(batches[0].images, batches[1].images)
    assert not torch.equal(batches[0].tokens, batches[1].tokens)
