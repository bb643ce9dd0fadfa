"""The parts check: what is asked of a photograph, and what is right."""

from pathlib import Path

import numpy as np

from benchmarks.by_words.parts import Photograph, questions
from lexiseg_train.data.indexed import IGNORE
from lexiseg_train.methods.tiny.directions.cells import Part, Parts


def test_a_part_is_asked_after_its_whole_which_is_right_on_the_rest() -> None:
    mask = np.zeros((40, 40), np.uint8)
    mask[:, :30] = 1
    parts = Parts(Path("none"))
    parts.names = ["leg", "tail"]
    marked = [Part("leg", (0, 20, 40, 40), "dog"), Part("tail", (0, 0, 1, 1), "dog")]
    shown = Photograph(np.zeros((40, 40, 3), np.uint8), mask, ("background", "dog"), marked)

    (asked,) = questions(shown, parts)  # the tail is too small to be asked for

    assert asked.words == {1: "dog", 2: "leg"}
    assert [asked.mask[y, x] for y, x in ((10, 10), (30, 10), (30, 35))] == [1, 2, 0]
    assert not (asked.mask == IGNORE).any()
