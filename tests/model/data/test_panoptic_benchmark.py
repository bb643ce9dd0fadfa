"""The panoptic benchmarks' own numbers, against what their papers and code say."""

from __future__ import annotations

import pytest

from lexiseg_model.data.panoptic_benchmark import names, panoptic_benchmark
from lexiseg_model.errors import DatasetError

# classes, things, the first and last category id, images of val
FACTS = {
    "coco-panoptic": (133, 80, 1, 200, 5000),
    "ade20k-panoptic": (150, 100, 0, 149, 2000),
    "cityscapes-panoptic": (19, 8, 7, 33, 500),
}


def test_every_panoptic_benchmark_is_there() -> None:
    assert set(names()) == set(FACTS)


@pytest.mark.parametrize("name", FACTS)
def test_a_benchmark_has_its_categories_things_and_images(name: str) -> None:
    found = panoptic_benchmark(name)

    ids = [entry.id for entry in found.categories]
    things = sum(entry.thing for entry in found.categories)
    assert (len(ids), things, min(ids), max(ids), found.split("val").images) == FACTS[name]
    assert len(set(ids)) == len(ids)
    assert found.source


def test_things_and_stuff_are_those_of_the_benchmark() -> None:
    cityscapes = {entry.name: entry.thing for entry in panoptic_benchmark("cityscapes-panoptic").classes}
    ade = {entry.name: entry.thing for entry in panoptic_benchmark("ade20k-panoptic").classes}

    assert {name for name, thing in cityscapes.items() if thing} == {
        "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle",
    }  # fmt: skip
    assert (ade["building"], ade["door"], ade["sky"]) == (False, True, False)


def test_a_class_is_asked_by_words_and_not_by_the_files_spelling() -> None:
    (floor,) = [entry for entry in panoptic_benchmark("coco-panoptic").classes if entry.name == "floor-wood"]

    assert floor.entry.name == "wood floor"
    assert floor.entry.thing is False


def test_an_unknown_benchmark_names_those_that_there_are() -> None:
    with pytest.raises(DatasetError, match="no panoptic benchmark 'voc'; there is: ade20k-panoptic, "):
        panoptic_benchmark("voc")


def test_an_unknown_split_names_those_that_there_are() -> None:
    with pytest.raises(DatasetError, match="coco-panoptic has no split 'test'; it has: val, train"):
        panoptic_benchmark("coco-panoptic").split("test")
