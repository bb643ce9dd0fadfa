"""Built-in class lists and their files; meanings of nouns."""

import json
from collections import Counter

import pytest

from lexiseg_model.vocabulary.class_lists import FOLDER, NAMES, class_list
from lexiseg_model.vocabulary.glosses import MAX_SENSES, glosses_of


def test_no_two_files_write_the_same_classes() -> None:
    written = Counter(json.dumps(json.loads((FOLDER / f"{name}.json").read_bytes()).get("classes")) for name in NAMES)
    del written["null"]

    assert set(written.values()) == {1}


@pytest.mark.parametrize(("name", "base"), [("voc21", "voc20"), ("context60", "context59")])
def test_a_list_has_what_it_does_not_change_from_the_one_it_is_based_on(name: str, base: str) -> None:
    ours, based_on = class_list(name), class_list(base)

    assert (ours.name, ours.background, ours.classes) == (name, True, based_on.classes)
    assert ours.stuff == based_on.stuff


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
