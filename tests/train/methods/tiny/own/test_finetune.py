"""Fine-tuning on a user's photographs: held-out quality, changed weights, the new card."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.errors import RecipeError, UnknownModelError
from lexiseg_model.export.choose import find
from lexiseg_model.export.manifest import read
from lexiseg_model.masks.rle import decode
from lexiseg_model.methods.tiny.segmenter import TinySegmenter
from lexiseg_model.methods.tiny.weights import BUNDLED, FILE, FOLDER
from lexiseg_model.methods.tiny.words.familiar import read_familiar
from lexiseg_model.methods.tiny.words.text_tower import MiniLM
from lexiseg_model.tasks import segment
from lexiseg_model.types import Background, ClassEntry, ModelCard, Vocabulary
from lexiseg_train.methods.tiny.own.finetune import DATASET_FOLDER, FinetuneTrainer, start_folder, write_dataset
from lexiseg_train.methods.tiny.own.publish import publish_finetuned
from lexiseg_train.methods.tiny.recipe import OWN, FinetuneRecipe
from tests.train.methods.short_runs import read_as
from tests.train.methods.tiny.shapes import CLASSES, write_shapes

SAMPLES = 2


def recipe_for(data: Path, out: Path, *more: str) -> FinetuneRecipe:
    values = [f"data={data}", f"out={out}", f"packs={out.parent}/packs", f"samples={SAMPLES}", "keep=0", "device=cpu"]
    values += ["steps=30", "decay_steps=15", "phases=[{after: 0, crop: 64, global_batch: 4}]", "learning_rate=0.005"]
    return read_as(FinetuneRecipe, "finetune", [*values, *more])


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> FinetuneRecipe:
    folder = tmp_path_factory.mktemp("own")
    return recipe_for(write_shapes(folder, 16) / "shapes", folder / "tuned")


@pytest.fixture(scope="module")
def card(recipe: FinetuneRecipe) -> ModelCard:
    weights = FinetuneTrainer(recipe).train()
    assert weights is not None
    return publish_finetuned(recipe, weights)


def test_fine_tuning_improves_held_out_photographs(recipe: FinetuneRecipe, card: ModelCard) -> None:
    compared = json.loads((recipe.out / "before-after.json").read_text())

    assert compared["step"] > 0
    assert compared["before"]["images"] == compared["after"]["images"] == 16
    assert compared["after"]["miou"] > compared["before"]["miou"] + 5
    (gain,) = [row for row in compared["changes"] if row["measure"] == "mIoU"]
    assert 0 < gain["low"] <= gain["difference"] <= gain["high"]
    assert card.quality["shapes"].miou == compared["after"]["miou"]


def test_the_score_is_fitted_to_left_out_photographs_and_keeps_its_threshold(card: ModelCard) -> None:
    start = catalogue.read_card(FOLDER).score

    assert card.score is not None
    assert start is not None
    assert card.score != start
    assert card.score.threshold == start.threshold


@pytest.mark.usefixtures("card")
def test_only_the_text_projection_changes(recipe: FinetuneRecipe) -> None:
    before, after = load_file(BUNDLED), load_file(recipe.out / FILE)

    changed = {name for name, value in before.items() if not torch.equal(after[name], value)}
    assert changed == {"text_projection.weight"}
    assert before.keys() <= after.keys()


def test_the_tuned_model_loads_with_its_own_card(recipe: FinetuneRecipe, card: ModelCard) -> None:
    start = catalogue.read_card(FOLDER)

    assert catalogue.load(recipe.out.name, models_dir=recipe.out.parent, device="cpu").card == card
    assert (card.tasks, card.prompt_quality) == (start.tasks, start.prompt_quality)
    assert card.training_data[-1] == f"16 photographs ({recipe.data}); its terms are not stated"
    assert len(card.training_data) == len(start.training_data) + 1
    assert card.lineage.startswith("30 steps of the recipe 'finetune' from tiny@1 ")
    assert card.limits[0].startswith("Tuned on a few photographs")
    assert card.weights_sha256 != start.weights_sha256
    assert (card.licence, card.commercial_use) == (start.licence, "no")


@pytest.mark.usefixtures("card")
def test_the_tuned_model_runs_the_graphs_of_its_start(recipe: FinetuneRecipe) -> None:
    name, models = recipe.out.name, recipe.out.parent
    tuned = catalogue.load(name, models_dir=models, device="cpu", runtime="auto")
    start = catalogue.load("tiny", device="cpu", runtime="auto")
    photograph = np.asarray(Image.open(next((recipe.data / "train" / "images").iterdir())).convert("RGB"))

    manifest = find(recipe.out / "onnx", tuned.digest)

    assert manifest is not None
    assert {graph.sha256 for graph in manifest.graphs} == {graph.sha256 for graph in read(FOLDER / "onnx").graphs}
    assert isinstance(tuned, TinySegmenter)
    assert isinstance(start, TinySegmenter)
    features = [each.encode(photograph).tensors for each in (tuned, start)]
    assert all(torch.equal(features[0][key], features[1][key]) for key in features[0])


@pytest.mark.usefixtures("card")
def test_words_of_the_start_and_of_the_new_classes_are_familiar(recipe: FinetuneRecipe, tower: MiniLM) -> None:
    before, after = (read_familiar(folder, tower.digest) for folder in (FOLDER, recipe.out))

    assert before is not None
    assert after is not None
    assert {"red ball", "blue box"}.isdisjoint(before.words)
    assert {*before.words, "red ball", "blue box"} == {*after.words}
    assert after.bound == before.bound


def test_a_zip_is_tuned_on_as_its_folder_is(tmp_path: Path) -> None:
    folder = write_shapes(tmp_path / "own", 5) / "shapes"
    archive = Path(shutil.make_archive(str(tmp_path / "own"), "zip", folder))

    for data, out in ((folder, "of-folder"), (archive, "of-zip")):
        write_dataset(recipe_for(data, tmp_path / out))

    of_folder, of_zip = (tmp_path / out / DATASET_FOLDER / OWN for out in ("of-folder", "of-zip"))
    masks = sorted(path.relative_to(of_folder) for path in of_folder.rglob("masks/*.png"))
    assert masks
    assert all((of_zip / mask).read_bytes() == (of_folder / mask).read_bytes() for mask in masks)


@pytest.mark.usefixtures("card")
def test_resuming_with_other_photographs_is_refused(recipe: FinetuneRecipe, tmp_path: Path) -> None:
    shutil.copytree(recipe.data, tmp_path / "other")
    (tmp_path / "other" / "train" / "images" / "001.jpg").touch()
    (tmp_path / "other" / "more.txt").touch()

    with pytest.raises(
        RecipeError, match=r"tuned holds a run on other pictures than those now in .*other; choose another out="
    ):
        FinetuneTrainer(recipe.model_copy(update={"data": tmp_path / "other"}))


def test_a_start_of_another_method_or_an_unknown_one_is_refused(recipe: FinetuneRecipe) -> None:
    with pytest.raises(RecipeError, match="start=tcl: models of method tiny can be tuned, this one is of tcl"):
        start_folder(recipe.model_copy(update={"start": "tcl"}))
    with pytest.raises(UnknownModelError, match="no model 'nothing'"):
        start_folder(recipe.model_copy(update={"start": "nothing"}))


def test_the_start_is_kept_unchanged_where_nothing_is_gained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Masks that the start itself has made, so that every change is a loss."""
    write_shapes(tmp_path, 8)
    start = catalogue.load("tiny", device="cpu")
    vocabulary = Vocabulary(tuple(map(ClassEntry, CLASSES[1:])), Background())
    for mask in sorted((tmp_path / "shapes" / "train" / "masks").iterdir()):
        photograph = mask.parents[1] / "images" / f"{mask.stem}.jpg"
        answer = segment("semantic", start, start.encode(np.asarray(Image.open(photograph))), vocabulary)
        labels = np.zeros((64, 64), np.uint8)
        for found in answer.segments:
            assert found.class_index is not None
            labels[decode(found.mask)] = found.class_index + 1
        Image.fromarray(labels).save(mask)
    recipe = recipe_for(tmp_path / "shapes", tmp_path / "tuned", "steps=10", "decay_steps=5", "samples=0")

    weights = FinetuneTrainer(recipe).train()
    assert weights is not None
    card = publish_finetuned(recipe, weights)

    assert json.loads((recipe.out / "before-after.json").read_text())["step"] == 0
    assert "no gain on left-out photographs" in capsys.readouterr().out
    before, after = load_file(BUNDLED), load_file(recipe.out / FILE)
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert (card.settings, card.score) == (catalogue.read_card(FOLDER).settings, catalogue.read_card(FOLDER).score)
