"""The training loop on a few drawn images: it learns, it saves what loads, it goes on where it stopped.

Every step is told to have taken as long as it takes to get the wanted number of them, so the runs do the same
everywhere.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
import yaml
from numpy.typing import NDArray
from safetensors.torch import load_file

from lexiseg_model import catalog
from lexiseg_model.catalog import load
from lexiseg_model.data.indexed import read_dataset
from lexiseg_model.errors import DatasetError, OptionError, WeightsError
from lexiseg_model.methods.tiny.network import TinyNetwork
from lexiseg_model.methods.tiny.text_tower import MiniLM
from lexiseg_model.training import timed_run, tiny
from lexiseg_model.training.augment import Crop
from lexiseg_model.training.publish import publish
from lexiseg_model.training.recipe import TinyRecipe, read_recipe
from lexiseg_model.training.tiny import Crops, TinyTrainer, count_pixels
from tests.model.training.clock import Clock
from tests.model.training.shapes import write_shapes

STEPS = 14


class Recorded(TinyTrainer):
    """Remembers the loss of every step."""

    def __init__(self, recipe: TinyRecipe) -> None:
        super().__init__(recipe)
        self.losses: list[float] = []

    def _step(self, batch: list[tuple[int, Crop]]) -> float:
        self.losses.append(super()._step(batch))
        return self.losses[-1]


class RememberedRows:
    """The text tower, asked once for each string: the trainers of these tests all want the same 800 rows."""

    def __init__(self, tower: MiniLM) -> None:
        self._tower = tower
        self._rows: dict[str, NDArray[np.float32]] = {}

    def encode(self, texts: list[str]) -> NDArray[np.float32]:
        fresh = [text for text in dict.fromkeys(texts) if text not in self._rows]
        self._rows.update(zip(fresh, self._tower.encode(fresh), strict=True))
        return np.stack([self._rows[text] for text in texts])


class Run(NamedTuple):
    """A finished run of STEPS steps."""

    recipe: TinyRecipe
    weights: Path
    losses: list[float]


def recipe_for(data: Path, out: Path, *more: str) -> TinyRecipe:
    return read_recipe(
        "tiny",
        [
            f"data={data}",
            f"out={out}",
            "sets={shapes: 1.0}",
            "start=scratch",
            "minutes=0.05",
            "phases=[{after: 0.0, crop: 64, batch: 4}]",
            "warmup_steps=5",
            "average_decay=0.9",
            "workers=0",
            "device=cpu",
            *more,
        ],
    )


def train(recipe: TinyRecipe, steps: int) -> Recorded:
    """Runs the recipe as if it got `steps` steps into its minutes."""
    trainer = Recorded(recipe)
    with pytest.MonkeyPatch.context() as patch:
        # Half a step beyond, so that rounding cannot ask for one more.
        patch.setattr(timed_run, "time", Clock(60 * recipe.minutes / (steps - 0.5)))
        trainer.train()
    return trainer


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shapes(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module", autouse=True)
def remembered_rows(tower: MiniLM) -> Iterator[None]:
    rows = RememberedRows(tower)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiny, "load_text_tower", lambda: rows)
        yield


@pytest.fixture(scope="module")
def run(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    recipe = recipe_for(shapes, tmp_path_factory.mktemp("run"))
    trainer = train(recipe, STEPS)
    yield Run(recipe, recipe.out / "tiny.safetensors", trainer.losses)
    shutil.rmtree(recipe.out)  # a checkpoint has 165 MB


def test_training_lowers_the_loss(run: Run) -> None:
    assert len(run.losses) == STEPS
    assert np.mean(run.losses[-4:]) < 0.6 * np.mean(run.losses[:2])


def test_the_weights_are_those_of_the_network_in_half_precision(run: Run) -> None:
    saved = {name: (value.shape, value.dtype) for name, value in load_file(run.weights).items()}

    assert saved == {
        name: (value.shape, torch.float16)
        for name, value in TinyNetwork().state_dict().items()
        if value.is_floating_point()
    }


def test_the_weights_are_finite(run: Run) -> None:
    assert all(value.isfinite().all() for value in load_file(run.weights).values())


def test_the_weights_load_as_a_model(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    shutil.copy(run.weights, folder)
    card = yaml.safe_load((catalog.bundled()["tiny"] / catalog.CARD).read_text())
    card |= {
        "name": "mine",
        "tasks": ["semantic"],
        "weights_sha256": hashlib.sha256(run.weights.read_bytes()).hexdigest(),
    }
    (folder / catalog.CARD).write_text(yaml.safe_dump(card))

    segmenter = load("mine", models_dir=tmp_path, device="cpu")

    plan = segmenter.plan(np.zeros((64, 64, 3), np.uint8))
    features = segmenter.assemble(plan, segmenter.encode_tiles(plan.tiles))
    assert all(tensor.isfinite().all() for tensor in features.tensors.values())


def test_what_is_published_promises_no_prompts(run: Run, tmp_path: Path) -> None:
    weights = tmp_path / "mine" / "tiny.safetensors"
    weights.parent.mkdir()
    shutil.copy(run.weights, weights)

    card = publish(run.recipe, weights)

    assert card == catalog.read_card(weights.parent)
    assert card.name == "mine"
    assert "semantic" in card.tasks
    assert "prompt" not in card.tasks
    assert card.weights_sha256 == hashlib.sha256(weights.read_bytes()).hexdigest()


def test_the_recipe_lies_beside_the_weights(run: Run) -> None:
    values = yaml.safe_load((run.recipe.out / "recipe.yaml").read_text())

    assert TinyRecipe.model_validate(values) == run.recipe


def test_a_run_whose_minutes_are_spent_trains_no_further(run: Run) -> None:
    before = run.weights.read_bytes()

    trainer = train(run.recipe, STEPS)

    assert trainer.step == STEPS
    assert run.weights.read_bytes() == before


def test_a_longer_run_goes_on_where_the_shorter_stopped(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(run.recipe.out / "checkpoint.pt", tmp_path)
    longer = run.recipe.model_copy(update={"out": tmp_path, "minutes": 2 * run.recipe.minutes})

    trainer = train(longer, 6)

    # Half of its minutes were spent when it began, so half of the six steps were left.
    assert capsys.readouterr().out.startswith(f"resumed at step {STEPS}, ")
    assert trainer.step == STEPS + 3
    assert trainer.crops_seen == 4 * (STEPS + 3)
    shutil.rmtree(tmp_path)


def test_training_can_start_from_a_weights_file(run: Run, shapes: Path, tmp_path: Path) -> None:
    trainer = TinyTrainer(recipe_for(shapes, tmp_path, f"start={run.weights}"))

    saved = load_file(run.weights)
    network = trainer.network.state_dict()
    assert all(torch.equal(network[name], value.float()) for name, value in saved.items())


def test_a_start_that_does_not_exist_is_named(shapes: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no weights at .*nowhere\.safetensors"):
        TinyTrainer(recipe_for(shapes, tmp_path, f"start={tmp_path / 'nowhere.safetensors'}"))


def test_two_scratch_starts_of_one_seed_are_equal(shapes: Path, tmp_path: Path) -> None:
    first, second = (TinyTrainer(recipe_for(shapes, tmp_path)).network.state_dict() for _ in range(2))

    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_missing_data_folder_is_named_with_the_expected_layout(tmp_path: Path) -> None:
    missing = tmp_path / "nowhere"

    with pytest.raises(DatasetError) as raised:
        TinyTrainer(recipe_for(missing, tmp_path / "out"))

    assert f"{missing} does not exist" in str(raised.value)
    assert "shapes/train/images/NAME.jpg, masks/NAME.png" in str(raised.value)
    assert "shapes/classes.json" in str(raised.value)


def test_an_unknown_device_is_refused(shapes: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="toaster"):
        TinyTrainer(recipe_for(shapes, tmp_path, "device=toaster"))


def test_pixels_of_every_class_are_counted(shapes: Path) -> None:
    data = read_dataset(shapes, "shapes", "train")

    counts = count_pixels(data)

    assert counts.tolist() == [
        sum((sample.read_mask()[::4, ::4] == value).sum() for sample in data.samples) for value in range(3)
    ]


def test_crops_are_drawn_in_proportion_to_the_shares(shapes: Path) -> None:
    data = read_dataset(shapes, "shapes", "train")
    stream = iter(Crops([data, data], np.array([0.8, 0.2]), 64, seed=0))

    drawn = [next(stream)[0] for _ in range(300)]

    assert 0.7 < drawn.count(0) / 300 < 0.9


def test_crops_of_one_seed_are_the_same(shapes: Path) -> None:
    data = read_dataset(shapes, "shapes", "train")
    first, second = (iter(Crops([data], np.ones(1), 64, seed=3)) for _ in range(2))

    for _ in range(5):
        np.testing.assert_array_equal(next(first)[1][0], next(second)[1][0])
