"""Training examples fit the labels of their photograph."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from lexiseg_train.data.indexed import IGNORE
from lexiseg_train.methods.tiny.drawn.examples import Batch, Examples
from lexiseg_train.methods.tiny.drawn.questions import Source, source_of
from lexiseg_train.methods.tiny.texts import TextBook, TextTable
from lexiseg_train.methods.tiny.trainings import TinyRecipe
from lexiseg_train.training.crops import Pack, Photograph, render, resident, write_pack
from tests.train.methods.short_runs import read_as

CONCEPTS = ("ball", "box", "gramophone", "grass", "tuba", "wall", "zebra")
SIZE = 64


def encode(texts: list[str]) -> NDArray[np.float32]:
    """One axis for each concept; a tuba is much like a gramophone."""
    rows = np.eye(len(CONCEPTS), dtype=np.float32)
    rows[CONCEPTS.index("tuba"), CONCEPTS.index("gramophone")] = 1
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows[[CONCEPTS.index(text) for text in texts]]


def toys(folder: Path) -> Pack:
    """Two photographs: a ball on the left half of one, a box on all of the other; grass is told of the first."""
    half = np.zeros((80, 100), np.uint8)
    half[:, :50] = 1
    image = np.zeros((80, 100, 3), np.uint8)
    image[:, :50] = 200
    photographs = [
        Photograph("ball", image, half, ("grass",)),
        Photograph("box", image, np.full((80, 100), 2, np.uint8)),
    ]
    return write_pack(folder / "toys", "toys", ("background", "ball", "box"), iter(photographs))


def names(folder: Path, complete: bool) -> Pack:
    photograph = Photograph("one", np.zeros((80, 100, 3), np.uint8), None, ("gramophone",))
    listed = ("gramophone", "tuba", "zebra")
    return write_pack(folder / "names", "names", (), iter([photograph]), listed, complete)


@pytest.fixture
def table(tmp_path: Path) -> TextTable:
    book = TextBook(templates=["{}"], synonyms={}, overlaps=[["ball", "box"]], rare=["zebra"])
    classes, more = {"toys": toys(tmp_path / "table").classes}, ["gramophone", "tuba", "zebra", "grass"]
    return TextTable(book, classes, ["wall"], "{}", encode, more)


def examples(sources: list[Source], table: TextTable, batch: int, **values: Any) -> Examples:
    """By a recipe with these values."""
    common: dict[str, Any] = {"whole": 0.0, "zoom": (0.4, 1.0), "paste": 0.0, "rivals": 0.0, "seed": 3}
    recipe = read_as(TinyRecipe, "tiny").model_copy(update=common | values)
    return Examples(sources, table, recipe, SIZE, batch, 0.72)


def drawn_of(sources: list[Source], table: TextTable, batch: int, **values: Any) -> Batch:
    return next(iter(examples(sources, table, batch, **values)))


def drawn(pack: Pack, table: TextTable) -> Batch:
    return drawn_of([source_of(pack, 1.0, table, 0.0, 0.72)], table, 4, zoom=(0.4, 1.2), seed=0)


def states(batch: Batch, table: TextTable, image: int) -> dict[str, int]:
    """One template and no synonyms: row k is concept k."""
    presences = batch.questions.presences
    rows = batch.questions.rows[presences.classes[image]].tolist()
    told = zip(rows, presences.states[image].tolist(), strict=True)
    return {table.concepts[row]: state for row, state in told if state >= 0}


def test_answers_are_aligned_with_rendered_pixels(tmp_path: Path, table: TextTable) -> None:
    pack = toys(tmp_path)
    batch = drawn(pack, table)

    crops = render(resident([pack], torch.device("cpu")), batch.views, SIZE)

    bright = crops.mean(1)[:, 2::4, 2::4].flatten(1)
    for image, answers in enumerate(batch.questions.full.targets):
        if (answers == 1).any() and (answers == 0).any():
            assert bright[image, answers == 1].mean() > bright[image, answers == 0].mean() + 50


def test_presence_labels_follow_the_crop(tmp_path: Path, table: TextTable) -> None:
    batch = drawn(toys(tmp_path), table)

    for image, answers in enumerate(batch.questions.full.targets):
        known = states(batch, table, image)
        assert known["zebra"] == 0
        for channel, name in ((1, "ball"), (2, "box")):
            share = (answers == channel).float().mean()
            if share == 0 or share > 0.01:
                assert known[name] == int(share > 0)


def test_a_photograph_with_labels_only_has_no_pixel_targets(tmp_path: Path, table: TextTable) -> None:
    batch = drawn(names(tmp_path, complete=True), table)

    assert (batch.questions.full.targets == IGNORE).all()
    assert states(batch, table, 0) == {"gramophone": 1, "tuba": 0, "zebra": 0}
