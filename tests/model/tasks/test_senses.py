"""Which meaning of a word an image shows."""

import numpy as np
from numpy.typing import NDArray

from lexiseg_labels.answers import Sense
from lexiseg_model.tasks import Options, Query, segment
from lexiseg_model.tasks.senses import chosen_senses
from lexiseg_model.types import ClassEntry
from lexiseg_model.vocabulary.bank import KnownRows
from tests.model.stand_in import ColourSegmenter, picture
from tests.model.tasks import asking

PARROT = ClassEntry("parrot", senses=("red", "blue"))


class _Explained(ColourSegmenter):
    """Reads a text by what its gloss says."""

    def encode_texts(self, texts: list[str]) -> NDArray[np.float16]:
        return super().encode_texts([text.rpartition(": ")[2] for text in texts])


def query(rows: list[str], *classes: str | ClassEntry) -> Query:
    segmenter = _Explained()
    vocabulary = asking.vocabulary(*classes)
    return Query(segmenter, segmenter.encode(picture(rows)), vocabulary, Options(), KnownRows(segmenter))


def test_the_image_chooses_among_the_meanings_of_a_word() -> None:
    assert chosen_senses(query(["bbgg"], "green", PARROT)) == (Sense(1, "blue", ("red",)),)
    assert chosen_senses(query(["rrgg"], "green", PARROT)) == (Sense(1, "red", ("blue",)),)


def test_a_word_without_meanings_has_none_to_choose_from() -> None:
    assert chosen_senses(query(["rrgg"], "green", "red")) == ()


def test_a_word_is_found_by_any_of_its_meanings() -> None:
    asked = query(["bbgg"], "green", PARROT)

    answer = segment("semantic", asked.segmenter, asked.features, asked.vocabulary)

    assert asking.described(answer) == [("green", 2), ("parrot", 2)]
