"""Definitions of public benchmarks."""

import json

import pytest

from lexiseg_model.vocabulary.class_lists import NAMES, class_list
from lexiseg_train.data.benchmark import FOLDER, benchmark, names


@pytest.mark.parametrize("name", names())
def test_a_benchmark_writes_no_class_list_that_is_built_in(name: str) -> None:
    own = json.loads((FOLDER / f"{name}.json").read_bytes()).get("classes", [])

    listed = [class_list(each) for each in NAMES]
    assert all(one.official not in (own, own[1:]) for one in listed)
    assert all([entry.name for entry in one.classes] not in (own, own[1:]) for one in listed)


@pytest.mark.parametrize(
    ("name", "classes"),
    [("voc20", {0: "aeroplane", 10: "diningtable"}), ("voc21", {0: "background", 11: "diningtable"})],
)
def test_a_benchmark_asks_by_its_own_strings(name: str, classes: dict[int, str]) -> None:
    assert {label: benchmark(name).classes[label] for label in classes} == classes
