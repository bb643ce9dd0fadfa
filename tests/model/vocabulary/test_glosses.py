"""Meanings of nouns."""

import pytest

from lexiseg_model.vocabulary.glosses import MAX_SENSES, glosses_of


def test_a_word_has_its_senses_that_photographs_can_show() -> None:
    machine, bird = glosses_of("crane")

    assert "heavy objects" in machine
    assert "wading bird" in bird


@pytest.mark.parametrize(("word", "of"), [("Persian Cat", "persian cat"), ("dogs", "dog"), ("benches", "bench")])
def test_capitals_and_plurals_are_the_same_word(word: str, of: str) -> None:
    assert glosses_of(word) == glosses_of(of) != ()


@pytest.mark.parametrize("word", ["", "glorbix", "Hund und Katze", "sincerity"])
def test_what_is_no_noun_of_a_thing_has_no_senses(word: str) -> None:
    assert glosses_of(word) == ()


def test_a_word_of_many_senses_has_the_most_frequent_ones() -> None:
    assert len(glosses_of("head")) == MAX_SENSES == 4
    assert glosses_of("head")[0].startswith("the upper part of the human body")
