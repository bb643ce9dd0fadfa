from __future__ import annotations

import pytest

from service.settings import Limits
from service.vocabularies.builtin import NAMES, built_in
from service.vocabularies.named import check_name

SIZES = {
    "voc20": 20, "voc21": 20, "context59": 59, "context60": 59, "coco-object": 80, "coco-stuff": 171,
    "coco-panoptic": 133, "cityscapes": 19, "ade20k": 150, "ade847": 847, "pc459": 459, "lvis": 1203,
    "imagenet-s": 919, "camvid": 11,
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_each_keeps_the_rules_of_a_request(name: str) -> None:
    found = built_in(name)  # checks as it reads

    assert found is not None
    assert found.built_in
    assert found.source
    assert len(found.vocabulary.classes) == SIZES[check_name(name)] <= Limits().max_classes


def test_none_is_missing() -> None:
    assert set(NAMES) == set(SIZES)


def test_lists_with_a_background_class_have_the_background_on() -> None:
    on = {name for name in NAMES if (found := built_in(name)) and found.vocabulary.background is not None}

    assert on == {"voc21", "context60", "coco-object", "imagenet-s"}


def test_no_list_keeps_the_background_as_a_class() -> None:
    names = {entry.name for name in NAMES if (found := built_in(name)) for entry in found.vocabulary.classes}

    assert not names & {"background", "others", "void", "unlabeled"}


def test_names_are_words_and_not_identifiers() -> None:
    found = [entry.name for name in NAMES if (list_ := built_in(name)) for entry in list_.vocabulary.classes]

    assert [name for name in found if "_" in name or name.endswith(("-other", "-merged", "-stuff"))] == []


def test_a_name_that_is_none_of_them_is_unknown() -> None:
    assert built_in("../named") is None
