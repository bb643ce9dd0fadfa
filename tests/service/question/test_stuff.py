from __future__ import annotations

import pytest

from lexiseg_service.gateway.vocabularies.builtin import NAMES, built_in
from lexiseg_service.question.classes import is_thing

TOLD_APART = ("voc20", "voc21", "coco-object", "coco-stuff", "coco-panoptic", "cityscapes", "ade20k", "lvis")


@pytest.mark.parametrize("name", ["sky", "Grass", "wall", "gravel", "mud", "pavement"])
def test_what_cannot_be_counted_is_stuff(name: str) -> None:
    assert is_thing(name) is False


@pytest.mark.parametrize(
    "name", ["car", "house", "building", "fence", "rock", "pole", "door", "table", "flying saucer"]
)
def test_of_anything_else_nobody_knows(name: str) -> None:
    assert is_thing(name) is None


def test_no_thing_of_a_benchmark_is_known_as_stuff() -> None:
    assert set(TOLD_APART) < set(NAMES)
    entries = [entry for name in TOLD_APART if (found := built_in(name)) for entry in found.vocabulary.classes]

    clashes = {text for entry in entries if entry.thing for text in entry.texts if is_thing(text) is False}

    assert clashes == {"food"}  # a thing in ADE20K; COCO does not count it
