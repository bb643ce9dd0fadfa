"""S-Seg+ from labels to a served model."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.clip.images import normalise
from lexiseg_model.segmenter import words_of
from lexiseg_model.testing.suite import bank_of
from lexiseg_model.types import ClassEntry
from lexiseg_train.data.indexed import read_dataset
from lexiseg_train.evaluation.run import evaluate
from lexiseg_train.methods.s_seg_plus.trainer import StudentTrainer, publish
from lexiseg_train.methods.s_seg_plus.trainings import StudentRecipe, StudentTraining
from lexiseg_train.training.recipe import Phase
from tests.model.methods.s_seg_plus.small import NETWORK
from tests.train.data.own.made import save
from tests.train.methods.short_runs import SHORT, first_batch

CLASSES = ["background", "red", "blue"]
COLOURS = ((120, 120, 120), (220, 20, 20), (20, 20, 220))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A red and a blue half on grey; a strip that nobody labelled."""
    folder = tmp_path_factory.mktemp("data")
    random = np.random.default_rng(0)
    for split in ("train", "val"):
        for index in range(3):
            mask = np.zeros((64, 64), np.uint8)
            left, right = random.permutation([1, 2])
            mask[16:, :32], mask[16:, 32:] = left, right
            image = np.array(COLOURS, np.uint8)[mask]
            mask[:, 60:] = 255
            save(folder / "halves" / split, f"{index}", image, mask, "png")
    (folder / "halves/classes.json").write_text(json.dumps(CLASSES))
    return folder


def recipe_for(data: Path, out: Path, **changes: object) -> StudentRecipe:
    values = SHORT | {
        "data": data, "out": out, "steps": 12, "phases": [Phase(after=0, crop=64, global_batch=2)],
        "learning_rate": 3e-3, "sets": ["halves"], "judged": ["halves"], "network": NETWORK, "zoom": (0.9, 1.0),
    }  # fmt: skip
    return StudentRecipe.model_validate(values | changes)


def test_the_loss_is_the_mean_entropy_of_labelled_pixels_under_both_heads(data: Path, tmp_path: Path) -> None:
    trainer = StudentTrainer(recipe_for(data, tmp_path))
    trainer.network.eval()
    batch = first_batch(trainer)
    with torch.no_grad():
        heads = trainer.network.both(normalise(batch.images, "imagenet"))
    expected = 0.0
    for weight, logits in zip((1.0, 0.4), heads, strict=True):
        shares = F.interpolate(logits, size=(64, 64), mode="bilinear").softmax(1)
        known = (batch.labels != 255).nonzero().tolist()
        terms = [-shares[image, batch.labels[image, y, x], y, x].log() for image, y, x in known]
        expected += weight * torch.stack(terms).mean().item()

    loss = trainer._loss(batch)

    assert (batch.labels == 255).any()
    assert loss.item() == pytest.approx(expected, rel=1e-4)


def test_what_was_trained_serves_the_classes_that_it_was_taught(data: Path, tmp_path: Path) -> None:
    recipe = recipe_for(data, tmp_path / "s-seg-plus")
    weights = StudentTrainer(recipe).train()
    assert weights is not None

    card = publish(recipe, weights)

    segmenter = catalogue.load("s-seg-plus", models_dir=tmp_path, precision="exact")
    split = read_dataset(data, "halves", "val")
    assert evaluate(segmenter, split).scores.pixel_accuracy > 60  # of three classes that colour alone tells apart
    assert card.quality["halves"].images == 3
    assert card.limits
    classes = (ClassEntry("Blue"), ClassEntry("dog", ("red",)), ClassEntry("cat"))
    features = segmenter.encode(split.samples[0].read_image())
    scores = words_of(segmenter).class_scores(features, bank_of(words_of(segmenter), classes))
    assert torch.equal(scores[:2], features.tensors["logits"][[2, 1]])
    assert (scores[2] < scores[:2].min()).all()
    strange = segmenter.unfamiliar(classes, words_of(segmenter).encode_texts)
    assert [(each.class_index, each.nearest in CLASSES) for each in strange] == [(2, True)]


def test_validation_uses_ground_truth_masks(data: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels" / "halves"
    labels.mkdir(parents=True)
    (labels / "train").symlink_to(data / "halves/train")
    (labels / "classes.json").symlink_to(data / "halves/classes.json")
    recipe = recipe_for(labels.parent, tmp_path / "out", truth=data)

    assert StudentTraining().lacks(recipe) is None
    assert set(StudentTrainer(recipe).figures()) == {"halves_miou"}
    elsewhere = recipe.model_copy(update={"truth": tmp_path})
    assert "no true masks at" in (StudentTraining().lacks(elsewhere) or "")


def test_missing_labels_are_reported_with_the_command_that_writes_them(data: Path, tmp_path: Path) -> None:
    recipe = recipe_for(tmp_path / "labels", tmp_path / "out", truth=data)

    train, listing = data / "halves/train", data / "halves/classes.json"
    command = f"lexiseg data pseudo-label {train} {tmp_path}/labels/halves --classes {listing}"
    assert f"`{command}` writes them" in (StudentTraining().lacks(recipe) or "")
    unknown = recipe.model_copy(update={"judged": []})
    assert "pseudo-label PHOTOS" in (StudentTraining().lacks(unknown) or "")


def test_mismatching_labels_are_reported_and_replaced(data: Path, tmp_path: Path) -> None:
    for part in ("images", "masks"):
        shutil.copytree(data / "halves/train" / part, tmp_path / "halves/train" / part)
    shutil.copy(data / "halves/classes.json", tmp_path / "halves")
    masks, images = tmp_path / "halves/train/masks", tmp_path / "halves/train/images"
    Image.new("L", (32, 64)).save(masks / "0.png")
    (images / "1.png").write_bytes((images / "1.png").read_bytes()[:60])

    assert StudentTrainer(recipe_for(tmp_path, tmp_path / "out", log_steps=12)).train() is not None
    named = {Path(line["name"]).parts[-2:]: line["reason"] for line in lines(tmp_path / "out/skipped.jsonl")}
    assert named.keys() == {("masks", "0.png"), ("images", "1.png")}
    assert named["masks", "0.png"] == "is 32 x 64, its photograph 64 x 64 upright; expected one size"
    assert lines(tmp_path / "out/journal.jsonl")[-1]["skipped"] == 2


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_its_recipe_can_be_read_before_any_other_method_is_imported() -> None:
    code = "import lexiseg_train.methods.s_seg_plus.trainings"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
