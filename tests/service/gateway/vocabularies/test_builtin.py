import pytest

from lexiseg_service.gateway.vocabularies.named import BUILT_IN_NAMES, built_in
from lexiseg_service.records.documents import NAME
from lexiseg_service.settings import Limits

SIZES = {
    "voc20": 20, "voc21": 20, "context59": 59, "context60": 59, "coco-object": 80, "coco-stuff": 171,
    "coco-panoptic": 133, "cityscapes": 19, "ade20k": 150, "ade847": 847, "pc459": 459, "lvis": 1203,
    "imagenet-s": 919, "camvid": 11,
}  # fmt: skip
# things and stuff, of the benchmarks that tell them apart
THINGS = {
    "voc20": (20, 0), "voc21": (20, 0), "coco-object": (80, 0), "coco-stuff": (80, 91), "coco-panoptic": (80, 53),
    "cityscapes": (8, 11), "ade20k": (100, 50), "lvis": (1203, 0),
}  # fmt: skip


def things_of(name: str) -> dict[str, bool | None]:
    """What each class of a list is."""
    named = built_in(name)
    assert named is not None
    return {entry.name: entry.thing for entry in named.vocabulary.classes}


@pytest.mark.parametrize("name", BUILT_IN_NAMES)
def test_each_keeps_the_rules_of_a_request(name: str) -> None:
    found = built_in(name)  # checks as it reads

    assert found is not None
    assert found.built_in
    assert found.source
    assert NAME.fullmatch(name)
    assert len(found.vocabulary.classes) == SIZES[name] <= Limits().max_classes


def test_lists_with_a_background_class_have_the_background_on() -> None:
    on = {name for name in BUILT_IN_NAMES if (found := built_in(name)) and found.vocabulary.background is not None}

    assert on == {"voc21", "context60", "coco-object", "imagenet-s"}


def test_names_are_words_and_not_identifiers() -> None:
    found = [entry.name for name in BUILT_IN_NAMES if (list_ := built_in(name)) for entry in list_.vocabulary.classes]

    assert [name for name in found if "_" in name or name.endswith(("-other", "-merged", "-stuff"))] == []


@pytest.mark.parametrize("name", THINGS)
def test_things_and_stuff_are_as_many_as_the_benchmark_has(name: str) -> None:
    said = list(things_of(name).values())

    assert (said.count(True), said.count(False)) == THINGS[name]
    assert None not in said
