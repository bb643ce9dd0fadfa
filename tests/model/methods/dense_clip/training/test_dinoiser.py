"""Training of CLIP-DINOiser's heads: the teacher, the losses, the model directory."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from lexiseg_model import catalogue
from lexiseg_model.clip.dino import DinoTower, plain_kind
from lexiseg_model.methods.dense_clip.dinoiser import CHANNELS, DinoiserHeads
from lexiseg_model.methods.dense_clip.segmenter import DenseClipSegmenter
from lexiseg_model.methods.dense_clip.training.dinoiser_trainer import DinoiserTrainer, heads_losses
from lexiseg_model.methods.dense_clip.training.publish import publish_heads
from lexiseg_model.methods.dense_clip.training.recipe import DinoiserRecipe
from lexiseg_model.methods.dense_clip.training.teacher import Taught, Teacher, last_block
from lexiseg_model.training.recipes.read import read_as
from lexiseg_model.types import ClassEntry
from tests.model.clip import small
from tests.model.training.pairs_folder import write_pairs

TOWER = plain_kind(patch=16, side=64, width=64, depth=2)


def tower() -> DinoTower:
    torch.manual_seed(0)
    made = DinoTower(TOWER).eval()
    for weight in made.parameters():
        torch.nn.init.normal_(weight, std=0.1)
    return made


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs, a small CLIP, a small DINO tower."""
    folder = tmp_path_factory.mktemp("data")
    write_pairs(folder / "captions", 6)
    save_file(small.state(), folder / "clip.safetensors")
    save_file(tower().vit.state_dict(), folder / "tower.safetensors")
    return folder


def recipe(data: Path, out: Path, **changes: Any) -> DinoiserRecipe:
    values = read_as(DinoiserRecipe, "dinoiser-smoke").model_dump(mode="json")
    ours = {
        "data": data,
        "out": out,
        "photographs": "captions/images",
        "clip": data / "clip.safetensors",
        "tower": data / "tower.safetensors",
        "architecture": small.ARCHITECTURE,
        "steps": 3,
        "held_out": 0,
        "device": "cpu",
        "workers": 0,
        "phases": [{"after": 0.0, "crop": 64, "global_batch": 2}],
    }
    return DinoiserRecipe.model_validate(values | ours | changes)


def test_the_teacher_correlates_values_and_keys_as_in_the_formulas() -> None:
    made, images = tower(), small.images(1, 64, 64)

    taught = Teacher(made, 0.2, 0.3)(images, (4, 4))

    block = last_block(made, images)
    values, keys = block.values[0, 1:].flatten(1), block.keys[0, 1:].flatten(1)
    heed = []
    for patch in range(16):
        heads = []
        for head in range(block.keys.shape[2]):
            scores = [float(block.queries[0, 0, head] @ key) / 8 for key in block.keys[0, :, head]]
            heads.append(math.exp(scores[1 + patch]) / sum(map(math.exp, scores)))
        heed.append(sum(heads))
    seed = keys[int(np.argmin(heed))]
    for one in range(16):
        background = float(torch.cosine_similarity(seed, keys[one], dim=0)) >= 0.3
        assert bool(taught.objects[0, one // 4, one % 4]) is not background
        for other in range(16):
            alike = float(torch.cosine_similarity(values[one], values[other], dim=0))
            assert bool(taught.together[0, one, other]) is (alike > 0.2)


def entropy(logit: Tensor, target: bool) -> float:
    return math.log(1 + math.exp(-float(logit) if target else float(logit)))


@torch.no_grad()
def test_the_losses_are_binary_cross_entropies_of_cosines_and_objects() -> None:
    torch.manual_seed(0)
    heads, inner = DinoiserHeads(32), torch.randn(2, 32, 3, 2)
    taught = Taught(torch.rand(2, 6, 6) > 0.5, torch.rand(2, 3, 2) > 0.5)

    correlation, objects = heads_losses(heads, inner, taught)

    vectors = heads.obj_proj(inner).flatten(2)
    assert vectors.shape == (2, CHANNELS, 6)
    units = vectors / vectors.norm(dim=1, keepdim=True)
    cosines = [
        entropy((units[n, :, p] @ units[n, :, q]).clamp(min=0), bool(taught.together[n, p, q]))
        for n in range(2)
        for p in range(6)
        for q in range(6)
    ]
    weight, bias = heads.bkg_decoder.weight.flatten(), heads.bkg_decoder.bias
    assert bias is not None
    logits = [
        entropy(inner[n, :, y, x] / inner[n, :, y, x].norm() @ weight + bias[0], bool(taught.objects[n, y, x]))
        for n in range(2)
        for y in range(3)
        for x in range(2)
    ]
    assert correlation.item() == pytest.approx(sum(cosines) / 72, rel=1e-4)
    assert objects.item() == pytest.approx(sum(logits) / 12, rel=1e-4)


def test_trained_heads_are_served_by_dense_clip(data: Path, tmp_path: Path) -> None:
    plan = recipe(data, tmp_path / "mine")

    weights = DinoiserTrainer(plan).train()

    assert weights is not None
    card = publish_heads(plan, weights)
    segmenter = catalogue.load("mine", models_dir=tmp_path, device="cpu")
    assert isinstance(segmenter, DenseClipSegmenter)
    assert segmenter.settings.policy == "clip_dinoiser"
    assert card.training_data[0].startswith(f"200 photographs without labels ({data / 'captions/images'});")
    classes = (ClassEntry("square"), ClassEntry("wall"))
    plan_of = segmenter.plan(np.random.default_rng(0).integers(0, 256, (64, 80, 3), np.uint8))
    features = segmenter.assemble(plan_of, segmenter.encode_tiles(plan_of.tiles))
    bank = segmenter.text_bank(classes, segmenter.encode_texts(segmenter.texts(classes)))
    assert segmenter.class_scores(features, bank).isfinite().all()
