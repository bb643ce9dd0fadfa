"""Words of a question in company, and parts of things that are asked with their wholes."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from lexiseg_model import tasks
from lexiseg_model.features import Features
from lexiseg_model.methods.tiny.scores import share_of, together
from lexiseg_model.methods.tiny.segmenter import TinySegmenter
from lexiseg_model.methods.tiny.settings import Parts, TogetherRule
from lexiseg_model.methods.tiny.words.parts import asked_parts, divide_wholes, presence_of_parts
from lexiseg_model.segmenter import AskedParts
from lexiseg_model.types import Background, ClassEntry, Learned, Vocabulary
from lexiseg_model.vocabulary.bank import KnownRows, bank_of

KINDS = [
    Parts(wholes=frozenset({"dog", "cat"}), directions={"head": 0, "ear": 1}),
    Parts(wholes=frozenset({"head"}), directions={"ear": 1}),
    Parts(wholes=frozenset({"statue"}), directions={"ear": -1}),
]
DIRECTIONS = torch.tensor([[10.0], [20.0]])
ALL = torch.tensor(1.0)


def parts_of(*words: str) -> AskedParts:
    parts = asked_parts(tuple(map(ClassEntry, words)), KINDS, (), DIRECTIONS)
    assert parts is not None
    asked = parts.among(len(words))
    assert asked is not None
    return asked


@pytest.mark.parametrize(
    ("words", "is_part", "pairs"),
    [
        (["head"], [True], {}),
        (["wheel", "Dogs", "heads"], [False, False, True], {(2, 1): 10}),
        (["ear", "dog", "head"], [True, False, True], {(0, 1): 20, (2, 1): 10, (0, 2): 20}),
        (["ear", "dog", "head", "statue"], [True, False, True, False], {(2, 1): 10}),
    ],
)
def test_parts_have_directions_in_the_wholes_that_are_asked_with_them(
    words: list[str], is_part: list[bool], pairs: dict[tuple[int, int], float]
) -> None:
    parts = parts_of(*words)

    assert parts.is_part.tolist() == is_part
    found = zip(
        zip(parts.part.tolist(), parts.whole.tolist(), strict=True), parts.directions[:, 0].tolist(), strict=True
    )
    assert dict(found) == pairs


@pytest.mark.parametrize("head", [ClassEntry("head", learned=Learned(b"1234", 0.5, "")), ClassEntry("jaw")])
def test_without_parts_nothing_is_divided(head: ClassEntry) -> None:
    assert asked_parts((ClassEntry("dog"), head), KINDS, {"jaw"}, DIRECTIONS) is None


@pytest.mark.parametrize(
    ("share", "winners"),
    # Dog's cells: far from a head, near it, the head's by its text, too; cells of the sky, which no part may change.
    [(1.0, ["dog", "head", "head", "sky", "sky"]), (0.0, ["dog", "dog", "head", "sky", "sky"])],
)
def test_a_part_wins_of_its_whole_and_of_nothing_else(share: float, winners: list[str]) -> None:
    words = ["dog", "head", "sky"]
    scores = torch.tensor([[9.0, 9, 7, 5, 4], [5, 7, 9, 4, 3], [1, 1, 1, 6, 6]])
    products = torch.tensor([[-3.0, 2, 4, 9, 9]])

    divided = divide_wholes(scores, parts_of(*words), products, torch.tensor(share))

    assert [words[index] for index in divided.argmax(0)] == winners
    assert torch.equal(divided[2], scores[2])
    if share:
        torch.testing.assert_close(divided[:2].amax(0), scores[:2].amax(0))


def test_a_part_of_a_part_divides_both() -> None:
    scores = torch.tensor([[0.0, 0], [9, 9], [0, 0]])  # ear, dog, head
    products = torch.tensor([[1.0, -1], [3, 3], [1, -1]])  # of an ear in a dog, a head in a dog, an ear in a head

    divided = divide_wholes(scores, parts_of("ear", "dog", "head"), products, ALL)

    assert divided.argmax(0).tolist() == [0, 2]


def test_parts_are_as_present_as_their_cells_say() -> None:
    parts = parts_of("dog", "head", "ear")
    scores = torch.full((3, 100), -20.0)
    scores[0], scores[1, 0] = 4.0, 8.0

    presence = presence_of_parts(
        torch.tensor([-3.0, 3.0]), scores[1:], parts.part - 1, scores[parts.whole], torch.zeros(100)
    )

    assert presence[0] > 0 > presence[1]


@pytest.mark.parametrize("words", [["woman", "head", "mouth"], ["head"], ["head", "rocket"]])
def test_parts_of_a_person_are_found(
    words: list[str], tiny: TinySegmenter, photographs: dict[str, NDArray[np.uint8]]
) -> None:
    vocabulary = Vocabulary(tuple(map(ClassEntry, words)), Background())

    segments = tasks.segment("semantic", tiny, tiny.encode(photographs["astronaut"]), vocabulary).segments

    assert [each.label for each in segments][: len(words)] == words


RULE = TogetherRule()
MANY = [*"abcdefghijklmnopqrst"]  # words, as many as the rule knows of


@pytest.mark.parametrize("side", [8, 40])
def test_a_word_that_another_one_exceeds_everywhere_is_found(side: int) -> None:
    is_left = (torch.arange(side) < side // 2).expand(side, side)
    pixels = torch.stack([is_left, ~is_left]).float()  # two kinds of cells
    by_itself = torch.stack([torch.where(is_left, 10.0, 9.0), torch.where(is_left, 2.0, 5.0)])

    both = together(by_itself, pixels, torch.tensor(13.0), RULE, [torch.tensor([True, True])])

    assert (by_itself.argmax(0) == 0).all()
    assert torch.equal(both.argmax(0) == 0, is_left)


@pytest.mark.parametrize(
    ("n_words", "share"), [(1, 0), (2, 1), (RULE.full, 1), (13, 0.5), (RULE.until, 0), (RULE.until + 1, 0)]
)
def test_long_lists_fade_it_out(n_words: int, share: float) -> None:
    assert share_of(RULE, torch.tensor(n_words)).item() == share


@pytest.mark.parametrize(("words", "changes"), [(["spoon"], False), (["spoon", "table"], True), (MANY, False)])
@pytest.mark.parametrize("background", [None, Background(), Background(words=("wall", "floor"))])
def test_what_is_asked_by_itself_or_in_a_long_list_keeps_its_bits(
    words: list[str], changes: bool, background: Background | None, tiny: TinySegmenter, coffee: Features
) -> None:
    bank = bank_of(tiny, Vocabulary(tuple(map(ClassEntry, words)), background), KnownRows(tiny))

    by_itself, asked = tiny.class_scores(coffee, bank), tiny.competing(coffee, bank, "none").classes

    assert torch.equal(asked[: len(words)], by_itself[: len(words)]) != changes
    assert torch.equal(asked[len(words) :], by_itself[len(words) :])  # words of the background are not asked
