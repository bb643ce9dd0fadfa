"""Fine-tuning on a user's photographs: left-out quality, other words, the new card."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from lexiseg_model.cards import ModelCard
from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.catalogue.weights import under
from lexiseg_model.errors import RecipeError, TeachingError, UnknownModelError, WeightsError
from lexiseg_model.methods.tiny.network import TEACHING, TinyNetwork
from lexiseg_model.methods.tiny.segmenter import TinySegmenter
from lexiseg_model.methods.tiny.weights import BUNDLED, FILE, FOLDER
from lexiseg_model.methods.tiny.words.familiar import read_familiar
from lexiseg_model.methods.tiny.words.text_tower import MiniLM
from lexiseg_model.types import Background, ClassEntry, Vocabulary
from lexiseg_model.vocabulary.bank import KnownRows, bank_of
from lexiseg_model.vocabulary.heads import Lesson
from lexiseg_train.evaluation.comparison import BeforeAfter
from lexiseg_train.methods.tiny.own import finetune
from lexiseg_train.methods.tiny.own.finetune import (
    DATASET_FOLDER,
    PARTS,
    FinetuneTrainer,
    Part,
    Solved,
    initial_taught,
    publish_finetuned,
    verdict,
    write_dataset,
)
from lexiseg_train.methods.tiny.trainer import initial_network
from lexiseg_train.methods.tiny.trainings import OWN, FinetuneRecipe
from tests.train.data.own.made import save
from tests.train.methods.short_runs import read_as
from tests.train.methods.tiny.shapes import SIDE, write_shapes

SAMPLES = 2


def recipe_for(data: Path, out: Path, *more: str) -> FinetuneRecipe:
    values = [f"data={data}", f"out={out}", f"packs={out.parent}/packs", f"samples={SAMPLES}", "device=cpu"]
    values += ["steps=10", "decay_steps=5", "phases=[{after: 0, crop: 64, global_batch: 4}]", "learning_rate=0.002"]
    return read_as(FinetuneRecipe, "finetune", [*values, *more])


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> FinetuneRecipe:
    folder = tmp_path_factory.mktemp("own")
    return recipe_for(write_shapes(folder, 8) / "shapes", folder / "tuned")


@pytest.fixture(scope="module")
def card(recipe: FinetuneRecipe) -> ModelCard:
    weights = FinetuneTrainer(recipe).train()
    assert weights is not None
    return publish_finetuned(recipe, weights)


def test_before_is_the_head_alone_on_left_out_photographs(recipe: FinetuneRecipe, card: ModelCard) -> None:
    compared = json.loads((recipe.out / "before-after.json").read_text())

    assert compared["before"]["images"] == compared["after"]["images"] == 8
    assert compared["before"]["miou"] > 50
    (gain,) = [row for row in compared["changes"] if row["measure"] == "mIoU"]
    assert (gain["difference"] > 0) == (compared["step"] > 0)
    assert card.quality["shapes"].miou == compared["after"]["miou"]


@pytest.mark.usefixtures("card")
def test_all_tensors_of_the_start_stay(recipe: FinetuneRecipe) -> None:
    before, after = load_file(BUNDLED), load_file(recipe.out / FILE)

    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert {name.partition(".")[0] for name in after.keys() - before.keys()} == {"taught"}


def scores_of(segmenter: TinySegmenter, photograph: np.ndarray, *words: str) -> torch.Tensor:
    vocabulary = Vocabulary(tuple(map(ClassEntry, words)), Background())
    return segmenter.class_scores(segmenter.encode(photograph), bank_of(segmenter, vocabulary, KnownRows(segmenter)))


def loaded(name: str, models: Path | None = None) -> TinySegmenter:
    segmenter = catalogue.load(name, models_dir=models, device="cpu")
    assert isinstance(segmenter, TinySegmenter)
    return segmenter


def test_taught_words_are_answered_by_what_was_learned_and_others_keep_their_bits(
    recipe: FinetuneRecipe, card: ModelCard
) -> None:
    tuned, start = loaded(card.name, recipe.out.parent), loaded("tiny")
    photograph = np.asarray(Image.open(next((recipe.data / "train" / "images").iterdir())).convert("RGB"))

    same = [
        torch.equal(scores_of(tuned, photograph, word), scores_of(start, photograph, word))
        for word in ("tomato", "Red ball")
    ]

    assert same == [True, False]


def test_the_tuned_model_loads_with_its_own_card(recipe: FinetuneRecipe, card: ModelCard) -> None:
    start = catalogue.read_card(FOLDER)

    assert loaded(card.name, recipe.out.parent).card == card
    assert (card.tasks, card.prompt_quality, card.score) == (start.tasks, start.prompt_quality, start.score)
    assert card.settings == start.settings | {"taught": ["red ball", "blue box"]}
    assert card.training_data[-1] == f"8 photographs ({recipe.data}); its terms are not stated"
    assert len(card.training_data) == len(start.training_data) + 1
    assert card.lineage.startswith("10 steps of the recipe 'finetune' from tiny@1 ")
    assert card.limits[0].startswith("Tuned on a few photographs")
    assert card.weights_sha256 != start.weights_sha256
    assert (card.licence, card.commercial_use) == (start.licence, "no")


def test_a_card_that_names_other_taught_classes_is_refused(
    recipe: FinetuneRecipe, card: ModelCard, tmp_path: Path
) -> None:
    shutil.copy(recipe.out / FILE, tmp_path / FILE)
    other = card.model_copy(update={"settings": {"taught": ["red ball"]}})

    with pytest.raises(WeightsError, match="the card names 1 taught classes, its weights have 2"):
        catalogue.load_folder(tmp_path, "cpu", card=other)


@pytest.mark.usefixtures("card")
def test_a_training_of_words_drops_the_taught_classes_of_its_start(recipe: FinetuneRecipe) -> None:
    network = initial_network(recipe.model_copy(update={"start": str(recipe.out / FILE)}))

    assert network.taught is None


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
    with pytest.raises(RecipeError, match="start=tcl: expected a model of method tiny, got one of tcl"):
        recipe.model_copy(update={"start": "tcl"}).start_folder()
    with pytest.raises(UnknownModelError, match="no model 'nothing'"):
        recipe.model_copy(update={"start": "nothing"}).start_folder()


@pytest.mark.usefixtures("card")
def test_without_a_gain_the_model_has_the_head_alone(
    recipe: FinetuneRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The trained parts are those before the training."""
    out = shutil.copytree(recipe.out, tmp_path / "tuned")  # the card there is what other tests read
    parts = load_file(out / PARTS)
    start = recipe.start_folder()
    untrained = [finetune.only_solved(start, under(f"{index}.", parts)) for index in range(3)]
    taught = {f"{n}.taught.{name}": value for n, part in enumerate(untrained) for name, value in part.items()}
    monkeypatch.setattr(finetune, "load_file", lambda path: load_file(path) | (taught if path.name == PARTS else {}))

    refused = publish_finetuned(recipe.model_copy(update={"samples": 0, "out": out}), out / FILE)

    assert json.loads((out / "before-after.json").read_text())["step"] == 0
    assert "no gain over the head alone on left-out photographs" in capsys.readouterr().out
    assert refused.summary == "tiny, taught by pictures of red ball, blue box."


@pytest.mark.parametrize(
    ("hits", "sentence"),
    [
        ([80, 85, 90, 95], "gained over the head alone"),
        ([80, 30, 90, 65], "likely better than the head alone, but not for sure"),
        ([50, 45, 40, 55], "no gain over the head alone"),
    ],
)
def test_a_gain_is_said_where_its_interval_is_above_zero(hits: list[int], sentence: str) -> None:
    before, after = (np.array([[[n], [100], [100]] for n in each]) for each in ([50] * 4, hits))

    assert verdict(BeforeAfter(("cup",), before, after)).startswith(sentence)


def test_a_class_that_the_head_leaves_to_words_is_tuned_without_them() -> None:
    """As here what holds for like pictures only: weights cannot tell such pictures from others."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(3, dtype=np.int16), 10)
    text = np.full((30, 2), -1, np.float16)
    text[10:13, 1] = 1  # words find three cells of ten
    cells = 3 * (labels[:, None] + 1 == np.arange(9)) + rng.normal(0, 0.3, (2, 30, 9))
    cells[..., -1] = 1
    shares = np.full(30, 1 / 30, np.float32)
    lessons = [Lesson("weights", ("wall", "roof"), own.astype(np.float16), labels, shares, text) for own in cells]

    solved = Solved.of(lessons, ["wall", "roof"], 9)

    assert solved.directions.any(1).tolist() == [True, False]
    assert (solved.text < 1).tolist() == [True, False]
    assert solved.first_directions.any(1).all()
    assert solved.first_text.tolist() == [solved.text[0], 0]


def test_a_class_that_a_fold_shows_in_no_picture_is_answered_by_words() -> None:
    network = TinyNetwork().eval()
    part = Part(initial_taught(network, 2), Solved.of([], ["wall", "roof"], TEACHING)).eval()
    shallow = network.trunk.shallow(torch.rand(1, 3, 64, 64))
    deep, head = network.trunk.deep(shallow[-1])
    by_words = torch.full((1, 2, 256), 100.0)

    assert torch.equal(part.margins([*shallow, *deep], head, by_words), by_words)


def test_pictures_of_one_label_alone_are_refused(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for index in range(4):
        image = random.integers(0, 255, (SIDE, SIDE, 3)).astype(np.uint8)
        save(tmp_path / "one" / "train", f"{index}", image, np.ones((SIDE, SIDE), np.uint8), quality=95)
    (tmp_path / "one" / "classes.json").write_text(json.dumps(["background", "wall"]))

    with pytest.raises(TeachingError, match="all labelled pixels are 'wall'; expected pixels of at least two"):
        FinetuneTrainer(recipe_for(tmp_path / "one", tmp_path / "out"))
