"""Training of `tiny` on a few drawn images: learning, publishing, resuming."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.errors import DatasetError, RecipeError
from lexiseg_train.methods.tiny import pretrained
from lexiseg_train.methods.tiny.publish import publish
from lexiseg_train.methods.tiny.trainer import TinyTrainer
from lexiseg_train.methods.tiny.trainings import TRAININGS, TinyRecipe
from lexiseg_train.training.recipe import LocalPhase
from tests.train.methods.short_runs import Finished, finished, read_as
from tests.train.methods.tiny.shapes import write_shapes

STEPS = 10


def recipe_for(data: Path, out: Path, *more: str) -> TinyRecipe:
    folder = [] if any("data." in each for each in more) else [f"data={data}"]
    values = [*folder, f"out={out}", f"packs={data}/packs", "sets={shapes: 1.0}", "start=scratch", "workers=0"]
    values += [f"steps={STEPS}", "decay_steps=0", "warmup_steps=5", "average_decay=0.9", "device=cpu"]
    return read_as(TinyRecipe, "tiny", [*values, "phases=[{after: 0.0, crop: 64, global_batch: 4}]", *more])


@pytest.fixture(scope="module", autouse=True)
def few_names(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The words of the trunk's classifier take six seconds to encode: most are withheld."""
    book = json.loads(pretrained.NAMES.read_text())
    wider = dict([*book["wider"].items()][:8])
    file = tmp_path_factory.mktemp("names") / "names.json"
    file.write_text(json.dumps(book | {"withheld": [*range(40, len(book["leaves"]))], "wider": wider}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pretrained, "NAMES", file)
        yield


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shapes(tmp_path_factory.mktemp("data"), count=6)


@pytest.fixture(scope="module")
def run(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Finished[TinyRecipe]]:
    done = finished(TinyTrainer(recipe_for(shapes, tmp_path_factory.mktemp("run"))))
    yield done
    shutil.rmtree(done.recipe.out)  # a checkpoint has 165 MB


def test_training_lowers_the_loss(run: Finished[TinyRecipe]) -> None:
    assert len(run.losses) == STEPS
    assert np.mean(run.losses[-4:]) < 0.6 * np.mean(run.losses[:2])


def test_a_published_card_repeats_nothing_of_the_bundled_card(run: Finished[TinyRecipe], tmp_path: Path) -> None:
    weights = tmp_path / "mine" / "tiny.safetensors"
    weights.parent.mkdir()
    shutil.copy(run.weights, weights)
    bundled = catalogue.read_card(catalogue.bundled()["tiny"])

    card = publish(run.recipe.model_copy(update={"licence": "Ours alone."}), weights)

    assert card.licence == "Ours alone."
    assert card.training_data[0].startswith("what it started from: ImageNet-1k")
    assert card.training_data[1:] == [f"shapes ({run.recipe.data / 'shapes'}); its terms are not stated"]
    started = f"{STEPS} steps of the recipe 'tiny' from a trunk pretrained on ImageNet, seed 401."
    assert card.lineage.startswith(started)
    assert not set(bundled.limits) & set(card.limits)
    assert (card.quality, card.prompt_quality, card.settings) == ({}, {}, {})
    assert card.score != bundled.score


def test_a_fair_run_trains_on_listed_photographs_alone_and_credits_them(
    run: Finished[TinyRecipe], tmp_path: Path
) -> None:
    data, weights = write_shapes(tmp_path / "data"), tmp_path / "mine" / "tiny.safetensors"
    rows = [f"shapes/train/images/{number:03}.jpg,CC0" for number in range(4)]
    (data / "licences.csv").write_text("\n".join(["file,licence", *rows]))
    recipe = recipe_for(data, tmp_path / "run", "data.licence=fair", f"data.folder={data}")
    weights.parent.mkdir()
    shutil.copy(run.weights, weights)

    drawn = {Path(source.pack.photographs[n]).stem for source in TinyTrainer(recipe).sources for n in source.eligible}
    card = publish(recipe, weights)

    assert drawn == {"000", "001", "002", "003"}
    assert (card.commercial_use, "ATTRIBUTION.csv" in card.licence) == ("yes", True)
    assert (weights.parent / "ATTRIBUTION.csv").read_text().splitlines() == ["file,licence", *rows]


def test_a_fair_run_needs_a_list(shapes: Path, tmp_path: Path) -> None:
    recipe = recipe_for(shapes, tmp_path, "data.licence=fair", f"data.folder={shapes}")

    with pytest.raises(DatasetError, match="`lexiseg data licences` writes it"):
        TinyTrainer(recipe)


def test_a_dry_run_of_a_fair_run_measures_on_drawn_photographs(shapes: Path, tmp_path: Path) -> None:
    recipe = recipe_for(shapes, tmp_path, "data.licence=fair", f"data.folder={shapes}", f"packs={tmp_path / 'packs'}")

    rehearsal = TRAININGS["tiny"].rehearsal(recipe, tmp_path)

    assert rehearsal.trainer.recipe.data == tmp_path / "data"


def test_training_can_start_from_a_weights_file(run: Finished[TinyRecipe], shapes: Path, tmp_path: Path) -> None:
    trainer = TinyTrainer(recipe_for(shapes, tmp_path, f"start={run.weights}"))

    saved = load_file(run.weights)
    network = trainer.network.network.state_dict()
    assert all(torch.equal(network[name], value.float()) for name, value in saved.items())


def words(*overrides: str) -> TinyRecipe:
    return read_as(TinyRecipe, "tiny", overrides)


@pytest.mark.parametrize("starts", [(0.2,), (0.0, 0.8, 0.5)])
def test_phases_cover_the_run_in_order(starts: tuple[float, ...]) -> None:
    phases = [{"after": after, "crop": 64, "global_batch": 1} for after in starts]

    with pytest.raises(RecipeError, match="expected the first at 0 and ascending order"):
        words(f"phases={phases}")


def test_a_decay_longer_than_the_run_is_refused() -> None:
    with pytest.raises(RecipeError, match="decay_steps is 20, more than the 10 steps of the run"):
        words("steps=10", "decay_steps=20")


def test_a_dry_run_draws_its_photographs_and_leaves_no_files(tmp_path: Path) -> None:
    folders = [f"data={tmp_path / 'no'}", f"out={tmp_path / 'out'}", f"packs={tmp_path / 'packs'}"]
    phases = "phases=[{after: 0.0, crop: 64, global_batch: 2}]"
    recipe = read_as(TinyRecipe, "tiny-smoke", [*folders, "sets={shapes: 1.0, named: 1.0}", phases])

    rehearsal = TRAININGS["tiny"].rehearsal(recipe, tmp_path / "dry")

    assert rehearsal.before == f"2 of 2 sets are first decoded into {tmp_path / 'packs'}"
    assert [path.name for path in tmp_path.iterdir()] == ["dry"]
    loss = rehearsal.trainer._loss(next(iter(rehearsal.trainer._batches(LocalPhase(64, 2)))))
    assert np.isfinite(loss.item())
