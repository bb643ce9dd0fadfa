"""Classes and image counts of the benchmarks against the published numbers."""

from __future__ import annotations

import pytest

from lexiseg_model.data.benchmark import benchmark, names
from lexiseg_model.errors import DatasetError

CLASSES = {
    "voc20": 20, "voc21": 21, "context59": 59, "context60": 60, "coco-object": 81, "coco-stuff": 171,
    "cityscapes": 19, "ade20k": 150, "ade847": 847, "pc459": 459, "lvis": 1203,
    "imagenet-s50": 51, "imagenet-s300": 301, "imagenet-s919": 920,
}  # fmt: skip
VALIDATION = {
    "voc20": 1449, "voc21": 1449, "context59": 5104, "context60": 5104, "coco-object": 5000, "coco-stuff": 5000,
    "cityscapes": 500, "ade20k": 2000, "ade847": 2000, "pc459": 5104, "lvis": 19809,
    "imagenet-s50": 752, "imagenet-s300": 4097, "imagenet-s919": 12419,
}  # fmt: skip
BACKGROUND = {"voc21", "context60", "coco-object", "imagenet-s50", "imagenet-s300", "imagenet-s919"}


def test_every_benchmark_is_there() -> None:
    assert set(names()) == set(CLASSES)


@pytest.mark.parametrize("name", CLASSES)
def test_a_benchmark_has_its_classes_and_images(name: str) -> None:
    found = benchmark(name)

    assert len(found.classes) == CLASSES[name]
    assert found.split("val").images == VALIDATION[name]
    assert found.background == (name in BACKGROUND)
    assert found.source


@pytest.mark.parametrize(("whole", "part"), [("voc21", "voc20"), ("context60", "context59")])
def test_with_and_without_background_name_the_same_classes(whole: str, part: str) -> None:
    assert benchmark(whole).classes[1:] == benchmark(part).classes


def test_class_names_are_those_of_the_benchmark() -> None:
    assert {"diningtable", "pottedplant", "tvmonitor", "aeroplane"} < set(benchmark("voc20").classes)
    assert {"hair drier", "potted plant", "airplane"} < set(benchmark("coco-object").classes)
    assert benchmark("ade847").classes[1] == "building, edifice"
    assert "baseballbat" in benchmark("pc459").classes
    assert benchmark("lvis").classes[0] == "aerosol can"
    assert benchmark("imagenet-s919").classes[1] == "tench"


def test_lvis_classes_have_a_frequency() -> None:
    frequency = benchmark("lvis").frequency

    assert frequency is not None
    assert {letter: frequency.count(letter) for letter in "rcf"} == {"r": 337, "c": 461, "f": 405}


def test_an_unknown_benchmark_is_refused_with_the_known_names() -> None:
    with pytest.raises(DatasetError, match=r"no benchmark 'voc22'; known benchmarks: ade20k, .*voc21"):
        benchmark("voc22")
