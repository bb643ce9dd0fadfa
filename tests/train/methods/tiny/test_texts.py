"""The table of training texts, with an encoder of known rows."""

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.catalogue.models import bundled, read_card
from lexiseg_model.vocabulary.glosses import glosses_of
from lexiseg_train.methods.tiny.texts import TEXTS, TextBook, TextTable

WORDS = ["ball", "orb", "box", "crate", "sky", "wall", "globe", "toy"]
BOOK = TextBook(
    templates=["a {}", "the {}"],
    synonyms={"ball": ["orb"], "box": ["crate"], "unicorn": ["horned horse"]},
    overlaps=[["box", "wall"]],
    rare=["box"],
)
TOYS = {"toys": ("background", "ball", "box")}
BOTH = TOYS | {"places": ("sky", "globe")}


class Encoder:
    """One axis for each word, so that different words are nothing alike; "globe" is as good as "ball"."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def encode(self, texts: list[str]) -> NDArray[np.float32]:
        self.asked = texts
        rows = np.zeros((len(texts), len(WORDS)), np.float32)
        for row, text in zip(rows, texts, strict=True):
            word = next((word for word in WORDS if word in text), "sky")
            row[WORDS.index("ball" if word == "globe" else word)] = 1
        return rows


def table(book: TextBook = BOOK, background: tuple[str, ...] = ("sky", "wall")) -> TextTable:
    return TextTable(book, BOTH, list(background), "{}", Encoder().encode)


def test_every_name_and_synonym_is_encoded_in_every_template() -> None:
    encoder = Encoder()

    TextTable(BOOK, TOYS, [], "{}", encoder.encode)

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


def test_a_synonym_that_names_another_class_of_the_question_is_not_drawn() -> None:
    book = BOOK.model_copy(update={"synonyms": {"ball": ["globe"]}})
    toys, random = table(book), np.random.default_rng(0)
    ball, globe = toys.index["ball"], toys.index["globe"]

    alone = {toys.draw(ball, random) for _ in range(50)}
    beside = {toys.draw(ball, random, beside=[ball, globe]) for _ in range(50)}

    assert len(alone) == 4  # two names in two templates
    assert len(beside) == 2


def test_glosses_and_wider_words_are_drawn_and_exclude_nothing_that_they_cover() -> None:
    encoder = Encoder()
    toys = TextTable(BOOK, BOTH, [], "{}", encoder.encode, kinds={"ball": ("globe",)}, glossed=True)
    random = np.random.default_rng(0)

    wide = {encoder.asked[toys.draw(toys.index["ball"], random, may_widen=True)] for _ in range(200)}
    narrow = {encoder.asked[toys.draw(toys.index["ball"], random)] for _ in range(200)}
    meanings = {encoder.asked[toys.draw(toys.index["sky"], random)] for _ in range(200)}
    ambiguous = {encoder.asked[toys.draw(toys.index["box"], random)] for _ in range(200)}

    assert wide - narrow == {"a globe", "the globe"}
    [gloss] = glosses_of("sky")
    assert {"a sky", f"a photo of a {gloss}.", f"a photo of a sky, {gloss}."} <= meanings
    assert ambiguous == {"a box", "the box", "a crate", "the crate"}
    assert not toys.exclusive[toys.index["ball"], toys.index["globe"]]


def test_rivals_are_alike_and_surely_something_else() -> None:
    toys = TextTable(BOOK, BOTH, ["wall"], "{}", Encoder().encode, kinds={"ball": ("toy",), "sky": ("toy",)})

    rivals = [toys.concepts[index] for index in toys.rivals(np.array([toys.index["ball"]]))]

    assert rivals[0] == "sky"  # of one kind
    assert not {"ball", "globe"} & set(rivals)
