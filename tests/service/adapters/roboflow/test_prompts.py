from __future__ import annotations

import pytest

from lexiseg_service.adapters.roboflow import Prompt, class_of
from lexiseg_service.errors import InvalidValue

RED = {"x": 0, "y": 0, "width": 16, "height": 16}
BLUE = {"x0": 32, "y0": 0, "x1": 48, "y1": 16}
DEFAULT = 0.5


def prompt(**fields: object) -> Prompt:
    return Prompt.model_validate(fields)


def test_labels_and_texts_become_a_class_s_own() -> None:
    both = prompt(text="dog", boxes=[RED, BLUE], box_labels=[1, 0], output_prob_thresh=0.3)

    assert class_of(both, 0, DEFAULT) == {
        "name": "dog",
        "threshold": 0.3,
        "examples": [{"box": [0, 0, 16, 16]}],
        "negatives": [{"box": [32, 0, 48, 16]}],
        "words": True,
    }


def test_boxes_without_labels_all_show_what_is_meant() -> None:
    assert class_of(prompt(type="visual", boxes=[BLUE]), 1, DEFAULT) == {
        "name": "prompt 1",
        "threshold": DEFAULT,
        "examples": [{"box": [32, 0, 48, 16]}],
        "negatives": [],
        "words": False,
    }


def test_a_word_alone_is_a_class_without_examples() -> None:
    assert class_of(prompt(text="dog"), 0, DEFAULT) == {"name": "dog", "threshold": DEFAULT}


@pytest.mark.parametrize("labels", [[], [1, 0]])
def test_as_many_labels_as_boxes_are_expected(labels: list[int]) -> None:
    with pytest.raises(InvalidValue, match=r"prompts\.3\.box_labels: .*one for each of 1 boxes"):
        class_of(prompt(boxes=[RED], box_labels=labels), 3, DEFAULT)
