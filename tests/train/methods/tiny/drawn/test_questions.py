"""Questions asked in training."""

import numpy as np
import pytest
from numpy.typing import NDArray

from lexiseg_train.data.indexed import IGNORE, IndexedDataset
from lexiseg_train.methods.tiny.drawn.questions import LabelSpace, full_question, random_question
from lexiseg_train.methods.tiny.texts import TextBook, TextTable

CONCEPTS = ["ball", "box", "globe", "sky", "wall", "zebra"]
TOYS = IndexedDataset("toys", "train", ("background", "ball", "box"), ())
PLACES = IndexedDataset("places", "train", ("sky", "wall", "globe", "zebra"), ())
SAME_MEANING = 0.72


def encode(texts: list[str]) -> NDArray[np.float32]:
    """One axis for each concept; "globe" is as good as "ball"."""
    rows = np.eye(len(CONCEPTS), dtype=np.float32)
    rows[CONCEPTS.index("globe")] = rows[CONCEPTS.index("ball")]
    return rows[[CONCEPTS.index(text) for text in texts]]


@pytest.fixture
def table() -> TextTable:
    book = TextBook(templates=["{}"], synonyms={}, overlaps=[["box", "wall"]], rare=["zebra"])
    return TextTable(book, {data.name: data.classes for data in (TOYS, PLACES)}, ["sky", "wall"], "{}", encode)


def space_of(data: IndexedDataset, table: TextTable) -> LabelSpace:
    return LabelSpace.from_pixels(data.classes, table, np.ones(len(data.classes)), 0.0)


def random() -> np.random.Generator:
    return np.random.default_rng(0)


def names(table: TextTable, rows: list[int]) -> list[str]:
    """One template and no synonyms: row k is concept k."""
    return [table.concepts[row] for row in rows]


def test_the_full_question_asks_for_every_class_of_the_data_set(table: TextTable) -> None:
    labels = np.array([[0, 1], [2, IGNORE]], np.uint8)

    question = full_question(labels, space_of(TOYS, table), [3, 4], table, random())

    assert names(table, question.classes) == ["ball", "box"]
    assert names(table, question.background) == ["sky", "wall"]
    assert question.targets.tolist() == [0, 1, 2, IGNORE]


@pytest.mark.parametrize("data", [TOYS, PLACES], ids=["with background", "without"])
def test_a_random_question_answers_every_pixel_with_its_class_or_background(
    table: TextTable, data: IndexedDataset
) -> None:
    space, source = space_of(data, table), random()
    for _ in range(60):
        labels = source.integers(0, len(data.classes), (4, 4)).astype(np.uint8)
        labels[0, 0] = IGNORE

        question = random_question(labels, space, table, SAME_MEANING, source)

        asked = names(table, question.classes)
        for value, answer in zip(labels.reshape(-1), question.targets, strict=True):
            if value == IGNORE:
                assert answer == IGNORE
            elif data.classes[value] in asked:
                assert asked[answer - 1] == data.classes[value]
            else:
                assert answer == 0


@pytest.mark.parametrize(
    ("value", "foreign", "denied"),
    [
        (1, "sky", True),
        (1, "globe", False),  # means the same
        (2, "wall", False),  # may share a pixel
        (0, "sky", False),  # background may be anything
        (0, "zebra", True),  # but hardly this
    ],
)
def test_a_class_of_another_set_is_negative_only_where_the_label_excludes_it(
    table: TextTable, value: int, foreign: str, denied: bool
) -> None:
    space, source = space_of(TOYS, table), random()
    labels = np.full((2, 2), value, np.uint8)
    for _ in range(200):
        question = random_question(labels, space, table, SAME_MEANING, source)
        if foreign in names(table, question.classes):
            break

    assert question.undecided is not None
    channel = 1 + names(table, question.classes).index(foreign)
    assert (~question.undecided[channel]).all() == denied
