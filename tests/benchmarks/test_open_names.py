"""The open check: which photographs are in it, and that no crop of training asks for its names."""

import json
from pathlib import Path

import pytest
import torch

from benchmarks.by_words.open_names import best_pixel, is_inside, is_most_present, photographs
from lexiseg_model.features import Features
from lexiseg_train.methods.tiny.pretrained import NAMES
from lexiseg_train.methods.tiny.trainer import OPEN_NAMES


def test_photographs_are_those_that_show_an_open_name(tmp_path: Path) -> None:
    for name, listing in (
        ("labels", {"a.jpg": ["panda"], "b.jpg": ["dog"]}),
        ("fair-labels", {"c.jpg": ["kiwi", "fruit"]}),
    ):
        (tmp_path / name / "images").mkdir(parents=True)
        (tmp_path / name / "labels.json").write_text(json.dumps(listing))
        for file in listing:
            (tmp_path / name / "images" / file).touch()
    (tmp_path / "aquarium").mkdir()
    boxes = [{"name": "puffin", "xyxy": [1, 2, 3, 4]}, {"name": "fish", "xyxy": [0, 0, 9, 9]}]
    (tmp_path / "aquarium" / "boxes.json").write_text(json.dumps({"images": [{"file": "d.jpg", "boxes": boxes}]}))

    shown = list(photographs(tmp_path, frozenset({"panda", "kiwi", "puffin"})))

    assert [(each.path.name, each.names) for each in shown] == [
        ("a.jpg", ("panda",)),
        ("c.jpg", ("kiwi",)),
        ("d.jpg", ("puffin",)),
    ]
    assert shown[-1].boxes["puffin"] == [[1, 2, 3, 4]]


@pytest.mark.parametrize(("box", "inside"), [([30, 10, 40, 20], True), ([0, 0, 29, 60], False)])
def test_the_best_pixel_of_a_word_is_judged_by_its_boxes(box: list[float], inside: bool) -> None:
    scores = torch.zeros(2, 3, 4)
    scores[0, 0, 3] = 5.0  # of the first word, upper right
    features = Features((60, 40), {})

    assert is_inside(best_pixel(scores, features), box) == inside


@pytest.mark.parametrize(("presence", "first"), [([2.0, 1.0, 5.0], True), ([1.0, 2.0, 0.0], False)])
def test_background_words_do_not_compete_for_the_first_place(presence: list[float], first: bool) -> None:
    of_two_words_and_a_background_word = torch.tensor(presence)

    assert is_most_present(of_two_words_and_a_background_word, n_words=2) == first


def test_the_names_of_the_trunk_that_mean_an_open_name_are_withheld() -> None:
    names, book = json.loads(OPEN_NAMES.read_text()), json.loads(NAMES.read_text())
    asked = {leaf.lower() for index, leaf in enumerate(book["leaves"]) if index not in book["withheld"]}

    assert len(names) >= 100
    assert not asked & {name.lower() for name in names}
    assert not {word.lower() for word in book["wider"]} & {name.lower() for name in names}
