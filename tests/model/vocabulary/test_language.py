"""Words of other languages than a text tower reads."""

from __future__ import annotations

import pytest

from lexiseg_model.available import available
from lexiseg_model.clip.patch_text import PatchTextSegmenter
from lexiseg_model.types import ClassEntry
from lexiseg_model.vocabulary.language import MAX_CHECKED, foreign_classes
from tests.model.methods.dense_clip import small as dense_clip
from tests.model.methods.radseg import small as radseg

WORDS = tuple(map(ClassEntry, ("dog", "Hund", "rickshaw", "cielo")))


def places(segmenter: PatchTextSegmenter) -> list[int]:
    return [stranger.class_index for stranger in segmenter.unfamiliar(WORDS, segmenter.encode_texts)]


def test_a_model_that_reads_english_warns_of_other_words() -> None:
    segmenter = dense_clip.segmenter("fast")
    assert isinstance(segmenter, PatchTextSegmenter)

    assert places(segmenter) == [1, 3]


def test_a_model_of_many_languages_warns_of_none() -> None:
    assert places(radseg.segmenter()) == []


@pytest.mark.parametrize(("name", "languages"), [("siglip2-b16", "many"), ("mobileclip2-s2", None)])
def test_the_card_says_which_languages_the_tower_reads(name: str, languages: str | None) -> None:
    assert available()[name].card["settings"].get("languages") == languages


def test_an_english_synonym_explains_a_foreign_name() -> None:
    assert foreign_classes([ClassEntry("Hund", ("dog",))]) == []


def test_a_long_list_is_not_looked_at() -> None:
    assert foreign_classes([ClassEntry("Hund")] * (MAX_CHECKED + 1)) == []
