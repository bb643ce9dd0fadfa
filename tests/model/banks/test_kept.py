"""A bank is made once for the same words and rows, and anew for any others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from lexiseg_model.banks.crowd import Crowd
from lexiseg_model.banks.kept import LARGEST, MOST, KeptBanks
from lexiseg_model.segmenter import TextBank, TextRows
from lexiseg_model.types import Background, ClassEntry, Vocabulary
from lexiseg_model.vocabulary.bank import bank_of
from tests.model.stand_in import ColourSegmenter

COLOURS = Vocabulary((ClassEntry("red"), ClassEntry("green", ("lime",))), Background(words=("blue", "crimson")))


@pytest.fixture
def served() -> ColourSegmenter:
    segmenter = ColourSegmenter()
    segmenter.banks = KeptBanks[TextBank]()
    return segmenter


def test_a_bank_is_made_once_for_the_same_words(served: ColourSegmenter) -> None:
    first = bank_of(served, COLOURS, served.encode_texts)

    again = bank_of(served, Vocabulary(COLOURS.classes, COLOURS.background, name="mine"), served.encode_texts)

    assert again is first


def test_a_kept_bank_is_that_of_a_model_that_keeps_none(served: ColourSegmenter) -> None:
    for _ in range(2):
        kept = bank_of(served, COLOURS, served.encode_texts)

    plain = bank_of(ColourSegmenter(), COLOURS, served.encode_texts)
    assert torch.equal(kept.vectors, plain.vectors)
    assert kept.owner.tolist() == plain.owner.tolist()
    assert kept.n_classes == plain.n_classes


def test_rows_are_asked_for_each_time(served: ColourSegmenter) -> None:
    asked: list[list[str]] = []

    def rows_of(texts: list[str]) -> TextRows:
        asked.append(texts)
        return served.encode_texts(texts)

    for _ in range(2):
        bank_of(served, COLOURS, rows_of)

    assert len(asked) == 4
    assert asked[:2] == asked[2:]


@pytest.mark.parametrize(
    "other",
    [
        Vocabulary(COLOURS.classes, None),
        Vocabulary(COLOURS.classes, Background(words=("blue",))),
        Vocabulary(COLOURS.classes[::-1], COLOURS.background),
        Vocabulary((ClassEntry("red"), ClassEntry("green"), ClassEntry("lime")), COLOURS.background),
    ],
    ids=["no background", "other background", "other order", "a synonym as a class"],
)
def test_other_words_have_a_bank_of_their_own(served: ColourSegmenter, other: Vocabulary) -> None:
    bank_of(served, COLOURS, served.encode_texts)

    bank = bank_of(served, other, served.encode_texts)

    plain = bank_of(ColourSegmenter(), other, served.encode_texts)
    assert torch.equal(bank.vectors, plain.vectors)
    assert bank.owner.tolist() == plain.owner.tolist()


def test_other_rows_of_the_same_words_make_another_bank(served: ColourSegmenter) -> None:
    bank_of(served, COLOURS, served.encode_texts)

    bank = bank_of(served, COLOURS, lambda texts: -served.encode_texts(texts))

    plain = bank_of(ColourSegmenter(), COLOURS, lambda texts: -served.encode_texts(texts))
    assert torch.equal(bank.vectors, plain.vectors)


def test_of_many_vocabularies_the_latest_are_kept() -> None:
    banks = KeptBanks[TextBank]()
    made: list[str] = []
    rows = np.zeros((1, 3), np.float16)

    def ask(name: str) -> None:
        def make() -> TextBank:
            made.append(name)
            return TextBank(torch.zeros(1, 3), np.zeros(1, np.int64), 1)

        banks.once(((ClassEntry(name),), ()), (rows, None), make)

    for turn in range(MOST + 1):
        ask(f"word {turn}")
    made.clear()
    ask(f"word {MOST}")
    ask("word 0")

    assert made == ["word 0"]


def test_long_lists_are_not_kept() -> None:
    banks = KeptBanks[TextBank]()
    rows = np.zeros((LARGEST // 2 + 1, 1), np.float16)
    words = (ClassEntry("a"),), ()

    def make() -> TextBank:
        return TextBank(torch.zeros(1, 3), np.zeros(1, np.int64), 1)

    first = banks.once(words, (rows, None), make)

    assert banks.once(words, (rows, None), make) is not first


class Counted(ClassEntry):
    """Counts how often its hash is asked for."""

    asked = 0

    def __hash__(self) -> int:
        Counted.asked += 1
        return super().__hash__()


def test_a_list_that_comes_again_is_not_looked_at_class_by_class() -> None:
    banks = KeptBanks[TextBank]()
    rows, classes = np.zeros((1, 3), np.float16), (Counted("sky"),)

    def make() -> TextBank:
        return TextBank(torch.zeros(1, 3), np.zeros(1, np.int64), 1)

    first = banks.once((classes, ()), (rows, None), make)
    asked = Counted.asked

    assert banks.once((classes, ()), (rows.copy(), None), make) is first
    assert Counted.asked == asked


def test_what_was_made_of_a_bank_is_not_that_of_another_made_from_it() -> None:
    bank = TextBank(torch.ones(1, 3), np.zeros(1, np.int64), 1)

    assert bank.once("sum", lambda: 3) == 3
    assert bank.once("sum", lambda: 4) == 3
    assert replace(bank, vectors=torch.zeros(1, 3)).once("sum", lambda: 0) == 0


def test_what_is_kept_is_counted(served: ColourSegmenter) -> None:
    served.crowds = KeptBanks[Crowd]()
    before = served.kept_bytes
    bank = bank_of(served, COLOURS, served.encode_texts)

    rows = served.encode_texts(served.texts(COLOURS.classes))
    assert before == 0
    assert served.kept_bytes >= bank.vectors.nbytes + rows.nbytes + served.crowds.nbytes
    assert served.crowds.nbytes > rows.nbytes
