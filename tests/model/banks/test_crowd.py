"""Background words step aside for what means the same, text by text and whatever is asked beside it."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from lexiseg_model.banks.crowd import LONGEST, MOST, Crowd
from lexiseg_model.segmenter import TextRows
from lexiseg_model.types import ClassEntry
from tests.model.stand_in import ColourSegmenter

WORDS = tuple(map(ClassEntry, ("red", "green", "blue")))


class Counting(ColourSegmenter):
    """Knows how often it was asked what texts mean."""

    def __init__(self) -> None:
        super().__init__()
        self.looks = 0

    def meaning(self, classes: tuple[ClassEntry, ...], rows: TextRows) -> NDArray[np.float32]:
        self.looks += 1
        return super().meaning(classes, rows)


@pytest.fixture
def segmenter() -> Counting:
    return Counting()


def crowd_of(segmenter: Counting) -> Crowd:
    rows = segmenter.encode_texts(segmenter.texts(WORDS))
    return Crowd(WORDS, rows, segmenter.meaning, segmenter.card.background)


@pytest.fixture
def crowd(segmenter: Counting) -> Crowd:
    return crowd_of(segmenter)


def stays(crowd: Crowd, segmenter: Counting, *classes: ClassEntry) -> list[str]:
    rows = segmenter.encode_texts(segmenter.texts(classes)) if classes else None
    return [WORDS[place].name for place in crowd.competing(classes, rows, segmenter.meaning)]


def test_a_word_that_means_what_is_asked_for_steps_aside(crowd: Crowd, segmenter: Counting) -> None:
    assert stays(crowd, segmenter, ClassEntry("crimson")) == ["green", "blue"]
    assert stays(crowd, segmenter, ClassEntry("wood", ("lime",)), ClassEntry("red")) == ["blue"]
    assert stays(crowd, segmenter) == ["red", "green", "blue"]


def test_synonyms_of_the_card_step_aside_whatever_their_rows_say(segmenter: Counting) -> None:
    rule = segmenter.card.background.model_copy(update={"synonyms": {"green": ["concrete"], "blue": ["concrete"]}})
    segmenter.card = segmenter.card.model_copy(update={"background": rule})
    crowd = crowd_of(segmenter)

    assert stays(crowd, segmenter, ClassEntry("Concrete")) == ["red"]


def test_known_texts_are_not_looked_at_again_beside_others(crowd: Crowd, segmenter: Counting) -> None:
    stays(crowd, segmenter, ClassEntry("crimson"), ClassEntry("lime"), ClassEntry("wood"))
    before = segmenter.looks

    assert stays(crowd, segmenter, ClassEntry("lime"), ClassEntry("wood")) == ["red", "blue"]
    assert segmenter.looks == before


def test_a_text_that_comes_with_another_row_is_looked_at_anew(crowd: Crowd, segmenter: Counting) -> None:
    classes = (ClassEntry("thing"),)
    for colour, expected in (("red", [1, 2]), ("blue", [0, 1])):
        rows = segmenter.encode_texts([colour])
        assert crowd.competing(classes, rows, segmenter.meaning) == expected


def test_a_long_list_is_judged_as_its_parts_are(crowd: Crowd, segmenter: Counting) -> None:
    strangers = [ClassEntry(f"stranger {place}") for place in range(LONGEST)]

    assert stays(crowd, segmenter, *strangers, ClassEntry("navy")) == ["red", "green"]
    assert stays(crowd, segmenter, *strangers) == ["red", "green", "blue"]


def test_more_texts_than_are_kept_are_judged_alike(crowd: Crowd, segmenter: Counting) -> None:
    for first in range(0, 2 * MOST, LONGEST):
        some = [ClassEntry(f"stranger {first + place}") for place in range(LONGEST - 1)]
        assert stays(crowd, segmenter, *some, ClassEntry("navy")) == ["red", "green"]


def test_texts_that_are_kept_are_counted_as_long_as_they_are(segmenter: Counting, crowd: Crowd) -> None:
    def ask(*names: str) -> None:
        classes = tuple(map(ClassEntry, names))
        crowd.competing(classes, segmenter.encode_texts(segmenter.texts(classes)), segmenter.meaning)

    empty = crowd.nbytes
    ask("lime")
    one = crowd.nbytes
    for number in range(MOST):
        ask(f"text {number}")

    assert one - empty > len("lime") + segmenter.encode_texts(["lime"]).nbytes
    assert crowd.nbytes < empty + MOST * (one - empty + len("text 123"))
