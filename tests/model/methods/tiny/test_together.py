"""Words of a question in company: none is eaten by another one, and one by itself is what it was."""

import pytest
import torch

from lexiseg_model.features import Features
from lexiseg_model.methods.tiny.scores import share_of, together
from lexiseg_model.methods.tiny.segmenter import TinySegmenter
from lexiseg_model.methods.tiny.settings import TogetherRule
from lexiseg_model.types import Background, ClassEntry, Vocabulary
from lexiseg_model.vocabulary.bank import KnownRows, bank_of

RULE = TogetherRule()
MANY = [*"abcdefghijklmnopqrst"]  # words, as many as the rule knows of


@pytest.mark.parametrize("side", [8, 40])
def test_a_word_that_another_one_exceeds_everywhere_is_found(side: int) -> None:
    is_left = (torch.arange(side) < side // 2).expand(side, side)
    pixels = torch.stack([is_left, ~is_left]).float()  # two kinds of cells
    by_itself = torch.stack([torch.where(is_left, 10.0, 9.0), torch.where(is_left, 2.0, 5.0)])

    both = together(by_itself, pixels, torch.tensor(13.0), RULE, torch.tensor(1.0))

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
