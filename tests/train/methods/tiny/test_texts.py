"""The table of training texts, with an encoder of known rows."""

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.catalogue.models import bundled, read_card
from lexiseg_train.data.indexed import IndexedDataset
from lexiseg_train.methods.tiny.texts import TEXTS, TextBook, TextTable

WORDS = ["ball", "orb", "box", "crate", "sky", "wall", "globe"]
BOOK = TextBook(
    templates=["a {}", "the {}"],
    synonyms={"ball": ["orb"], "box": ["crate"], "unicorn": ["horned horse"]},
    overlaps=[["box", "wall"]],
    rare=["box"],
)
TOYS = IndexedDataset("toys", "train", ("background", "ball", "box"), ())
PLACES = IndexedDataset("places", "train", ("sky", "globe"), ())


class Encoder:
    """One axis for each word, so that different words are nothing alike; "globe" is as good as "ball"."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def encode(self, texts: list[str]) -> NDArray[np.float32]:
        self.asked = texts
        rows = np.zeros((len(texts), len(WORDS)), np.float32)
        for row, text in zip(rows, texts, strict=True):
            word = next(word for word in WORDS if word in text)
            row[WORDS.index("ball" if word == "globe" else word)] = 1
        return rows


def table(book: TextBook = BOOK, background: tuple[str, ...] = ("sky", "wall")) -> TextTable:
    return TextTable(book, [TOYS, PLACES], list(background), "{}", Encoder())


def test_every_name_and_synonym_is_encoded_in_every_template() -> None:
    encoder = Encoder()

    TextTable(BOOK, [TOYS], [], "{}", encoder)

    assert encoder.asked == [
        *("a ball", "the ball", "a orb", "the orb", "a box", "the box", "a crate", "the crate"),
        *("ball", "box"),
    ]


def test_a_concept_draws_only_its_own_texts() -> None:
    toys, random = table(), np.random.default_rng(0)

    drawn = {toys.draw(toys.index["ball"], random) for _ in range(200)}

    assert {WORDS[toys.rows[row].argmax()] for row in drawn} == {"ball", "orb"}
    assert len(drawn) == 4


def test_concepts_that_may_share_a_pixel_do_not_exclude_each_other() -> None:
    toys = table()

    assert not toys.exclusive[toys.index["box"], toys.index["wall"]]
    assert not toys.exclusive[toys.index["wall"], toys.index["box"]]


def test_bundled_background_words_have_the_trained_synonyms() -> None:
    rule, book = read_card(bundled()["tiny"]).background, TextBook.read(TEXTS)

    trained = {word: list(book.synonyms[word]) for word in rule.words if word in book.synonyms}
    assert {word: names for word, names in rule.synonyms.items() if word in book.synonyms} == trained
