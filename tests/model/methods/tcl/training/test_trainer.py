"""Training of TCL: trained parameters, import and serving."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lexiseg_model import catalogue
from lexiseg_model.errors import WeightsError
from lexiseg_model.methods.tcl.training.learned import empty
from lexiseg_model.methods.tcl.training.publish import publish
from lexiseg_model.methods.tcl.training.recipe import LossSettings
from lexiseg_model.methods.tcl.training.trainer import OFFICIAL, TclTrainer
from lexiseg_model.types import ClassEntry
from tests.model.imports import imported
from tests.model.methods.tcl.training.small import MINI, recipe, write_data


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with twelve captioned photographs, and a CLIP of random weights."""
    return write_data(tmp_path_factory.mktemp("data"))


def count(architecture: str, block: bool) -> int:
    learned = empty(architecture, LossSettings())
    learned.begin(block)
    return sum(parameter.numel() for parameter in learned.trained())


def test_over_the_published_clip_21_6_and_then_28_7_million_numbers_learn() -> None:
    decoder = 4 * (768 * 768 * 9 + 768 + 2 * 768 + 1)
    others = 768 * 512 + 2 * 768 + 2 + 2  # projection, masks, temperatures
    block = 3 * 768 * 769 + 768 * 769 + 4 * 768 + 2 * 768 * 3072 + 768 + 3072

    assert count("ViT-B-16", block=False) == decoder + others == 21_637_640
    assert count("ViT-B-16", block=True) == decoder + others + block == 28_725_512


def test_a_trained_model_is_imported_and_served(data: Path, tmp_path: Path) -> None:
    plan = recipe(data, tmp_path / "mine")

    weights = TclTrainer(plan).train()

    assert weights is not None
    official = torch.load(tmp_path / "mine" / OFFICIAL, weights_only=True)["model"]
    assert len(official) == 37
    assert all(name.startswith("masker.") for name in official)
    files = {"checkpoint": tmp_path / "mine" / OFFICIAL, "clip": [data / "clip.safetensors"], "architecture": MINI}
    imported("tcl", "imported", tmp_path, replace=False, **files)
    card = publish(plan, weights)
    models = [catalogue.load(name, models_dir=tmp_path, device="cpu") for name in ("mine", "imported")]
    scores = [class_scores(model) for model in models]
    assert card.name == "mine"
    assert scores[0].shape[0] == 2
    assert scores[0].isfinite().all()
    assert models[0].card.settings["window"] == 128
    assert str(data) in card.training_data[0]
    assert "of the recipe" in card.lineage
    assert "whose last block learned from step" in card.lineage


def class_scores(segmenter: Any) -> Tensor:
    classes = (ClassEntry("square"), ClassEntry("wall"))
    plan = segmenter.plan(np.random.default_rng(0).integers(0, 256, (64, 80, 3), np.uint8))
    features = segmenter.assemble(plan, segmenter.encode_tiles(plan.tiles))
    scores: Tensor = segmenter.class_scores(
        features, segmenter.text_bank(classes, segmenter.encode_texts(segmenter.texts(classes)))
    )
    return scores


def test_a_clip_of_another_architecture_is_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"clip\.safetensors"):
        TclTrainer(recipe(data, tmp_path, architecture="ViT-B-16"))
