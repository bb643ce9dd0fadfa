"""A student taught by another model: what the teacher's masks become, what is learned, the new card."""

import io
import json
import shutil
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lexiseg_model.cards import ModelCard
from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.errors import DatasetError, RecipeError
from lexiseg_train.data.indexed import IGNORE
from lexiseg_train.data.labelling.model_labels import SoftLabels, Teacher, planes, prefer_truth, read_photographs
from lexiseg_train.methods.tiny.own.distil import DistilTrainer, label, publish_distilled, shares_in
from lexiseg_train.methods.tiny.trainings import OWN, DistilRecipe
from lexiseg_train.training.crops import Places
from lexiseg_train.training.recipe import LocalPhase
from tests.train.methods.short_runs import read_as
from tests.train.methods.tiny.shapes import CLASSES, write_shapes

STEPS, SURE = 4, 0.8


def by_colour(photograph: bytes, classes: Sequence[str], background: bool) -> SoftLabels:
    """What is red is the first class, what is blue the second; all of it is seen with one confidence."""
    with Image.open(io.BytesIO(photograph)) as picture:
        red, _, blue = np.moveaxis(np.asarray(picture).astype(int), 2, 0)
    class_map = np.where(red > blue + 60, 0, np.where(blue > red + 60, 1, -1))
    return SoftLabels("colours 1", class_map, np.ones(len(classes)), np.full(class_map.shape, SURE))


def at_address(url: str) -> AbstractContextManager[Teacher]:
    return nullcontext(by_colour)


def recipe_for(data: Path, out: Path, *more: str) -> DistilRecipe:
    values = [f"data={data}", f"out={out}", f"steps={STEPS}", "decay_steps=2", "device=cpu", "workers=0", "samples=1"]
    values += ["teacher=http://teacher", "photographs=null", "classes=[]"]
    return read_as(DistilRecipe, "distil-smoke", [*values, "phases=[{after: 0, crop: 64, global_batch: 4}]", *more])


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("shapes")
    write_shapes(root, 8)
    return write_shapes(root, 3, "val") / "shapes"


@pytest.fixture(scope="module")
def recipe(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> DistilRecipe:
    recipe = recipe_for(shapes, tmp_path_factory.mktemp("runs") / "small")
    label(recipe, at_address)
    return recipe


@pytest.fixture(scope="module")
def card(recipe: DistilRecipe) -> ModelCard:
    weights = DistilTrainer(recipe).train()
    assert weights is not None
    return publish_distilled(recipe, weights)


def test_no_pixel_is_surer_than_its_segment_and_an_unlikely_segment_is_background() -> None:
    taught = SoftLabels("one 1", np.array([[0, 1, 2, -1]]), np.array([0.6, 0.9, 0.2]), np.array([[0.8, 0.7, 0.9, 0.4]]))

    mask, shares = planes(taught, background=True)

    assert mask.tolist() == [[1, 2, 0, 0]]
    assert shares.tolist() == [[round(255 * share) for share in (0.6, 0.7, 0.8, 0.4)]]


def test_photographs_with_a_persons_masks_are_half_of_the_examples(shapes: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(shapes, tmp_path / "shapes")
    masks = sorted((folder / "train" / "masks").iterdir())
    for mask in masks[:-2]:
        mask.unlink()
    recipe = recipe_for(folder, tmp_path / "run")
    label(recipe, at_address)

    trainer = DistilTrainer(recipe)

    (source,) = trainer.sources
    assert [source.pack.photographs[index] for index in source.favoured] == [mask.stem for mask in masks[-2:]]
    random = np.random.default_rng(0)
    offsets = {source.pack.places[index, 0] for index in source.favoured}
    examples = trainer._batches(LocalPhase(64, 4))
    drawn = [examples._example(0, random)[0].place[0] in offsets for _ in range(200)]
    assert 0.5 < np.mean(drawn) < 0.75  # a half, and the fifth of the others


def test_a_list_without_background_gives_every_pixel_a_class(shapes: Path, tmp_path: Path) -> None:
    shutil.copytree(shapes / "train" / "images", tmp_path / "images")
    (tmp_path / "classes.json").write_text('["red ball", "blue box"]')

    found = read_photographs(tmp_path, (), None)
    mask, shares = planes(
        SoftLabels("one 1", np.array([[0, 1]]), np.array([0.6, 0.2]), np.ones((1, 2))), found.background
    )

    assert found.names == found.classes == ("red ball", "blue box")
    assert mask.tolist() == [[0, 1]]
    assert shares.tolist() == [[153, 51]]


def test_a_persons_mask_counts_alone_and_in_full() -> None:
    teacher, truth = np.array([[1, 1, 2]], np.uint8), np.array([[1, 2, IGNORE]], np.uint8)

    mask, shares = prefer_truth(teacher, np.array([[200, 200, 90]], np.uint8), truth)

    assert mask.tolist() == [[1, 2, 2]]
    assert shares.tolist() == [[255, 255, 90]]


def test_shares_are_read_where_a_crop_shows_them() -> None:
    shares = torch.arange(100, 100 + 8 * 12, dtype=torch.uint8)  # of a photograph of [8, 12], after others
    before = torch.zeros(5, dtype=torch.uint8)
    mirrored = torch.tensor([[-1.0, 11.0, 1.0, 0.0]])
    windows = Places(torch.tensor([0]), torch.tensor([[5, 8, 12]]), mirrored)

    seen = shares_in(torch.cat([before, shares]), windows, 8)

    whole = shares.view(8, 12)
    assert (seen * 255).round().tolist() == [[whole[y, 11 - x].item() for y in (2, 6) for x in (2, 6)]]


@pytest.mark.usefixtures("card")
def test_a_student_is_served_with_a_card_that_names_its_teacher(recipe: DistilRecipe, card: ModelCard) -> None:
    assert catalogue.load(recipe.out.name, models_dir=recipe.out.parent, device="cpu").card == card
    assert card.training_data[-1] == f"8 photographs, labelled by colours 1 ({recipe.data}); its terms are not stated"
    assert card.lineage.endswith("Taught by colours 1.")
    assert "prompt" not in card.tasks


def test_before_and_after_are_measured_on_the_folders_own_masks(recipe: DistilRecipe, card: ModelCard) -> None:
    compared = json.loads((recipe.out / "before-after.json").read_text())

    assert compared["before"]["images"] == compared["after"]["images"] == 3
    assert card.quality[OWN].images == 3
    assert len(list((recipe.out / "samples").iterdir())) == 1


def test_photographs_without_masks_are_split_and_asked_once(shapes: Path, tmp_path: Path) -> None:
    asked: list[bytes] = []

    def counted(photograph: bytes, classes: Sequence[str], background: bool) -> SoftLabels:
        asked.append(photograph)
        return by_colour(photograph, classes, background)

    recipe = recipe_for(shapes / "train" / "images", tmp_path / "run", "classes=[red ball, blue box]", "held_out=0.5")
    label(recipe, lambda url: nullcontext(counted))
    label(recipe, lambda url: pytest.fail("every photograph is labelled"))

    root = recipe.out / "laid-out" / OWN
    assert len(asked) == 8
    assert json.loads((root / "classes.json").read_text()) == [*CLASSES]
    assert [len(list((root / split / "masks").iterdir())) for split in ("train", "val")] == [4, 4]


def test_another_teacher_or_other_classes_in_the_same_run_are_refused(recipe: DistilRecipe) -> None:
    with pytest.raises(RecipeError, match=r"masks made with another teacher; choose another out="):
        label(recipe.model_copy(update={"teacher": "http://other"}), at_address)
    with pytest.raises(RecipeError, match=r"masks made with another classes; choose another out="):
        label(recipe.model_copy(update={"classes": ("cat",)}), at_address)


def test_photographs_without_classes_are_told_to_name_them(shapes: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no classes for the teacher; .*classes="):
        label(recipe_for(shapes / "train" / "images", tmp_path / "run"), at_address)
