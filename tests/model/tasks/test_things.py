"""Regions of things that are not believed, over a Segmenter whose answers are known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lexiseg_model.masks.regions import split
from lexiseg_model.tasks.pixels import Seen, evidence
from lexiseg_model.types import ClassEntry, PanopticRule, Task, ThingBelief
from tests.model.tasks.asking import ask, described

FLAGS = ["rr.gg.", "rr....", "rr...r"]  # a red region of 6 pixels, one of 1, a green one of 2
LARGE = ThingBelief(probability=0, area=1, presence=0, bias=-math.log(0.2), least=0.5)  # a fifth of the picture
PRESENT = ThingBelief(probability=0, area=0, presence=1, bias=-1, least=0.5)  # surer than can be


def seen(labels: list[list[int]], n_classes: int, presence: list[float]) -> Seen:
    regions = split(np.array(labels, np.uint8), list(range(n_classes)), 1)
    votes = np.bincount(regions.labels.reshape(-1), minlength=len(regions.owner) + 1).astype(np.float64) / 2
    return Seen(regions, votes, np.array(presence))


def test_evidence_is_probability_area_and_presence_as_logarithms() -> None:
    known = seen([[0, 0, 9, 1], [0, 0, 9, 9]], 2, [3.0, -2.0])

    half, sure, hardly = (math.log(share) for share in (0.5, 1 / (1 + math.exp(-3)), 1 / (1 + math.exp(2))))
    np.testing.assert_allclose(evidence(known), [[half, half, sure], [half, math.log(1 / 8), hardly]])


@pytest.mark.parametrize("task", ["instance", "panoptic"])
def test_a_region_that_is_not_believed_is_nobody_s(task: Task) -> None:
    assert described(ask(task, FLAGS, "red", "green")) == [("red", 6), ("red", 1), ("green", 2)]
    assert described(ask(task, FLAGS, "red", "green", rule=PanopticRule(things=LARGE))) == [("red", 6)]


def test_stuff_is_never_disbelieved() -> None:
    grass = ClassEntry("green", thing=False)

    assert described(ask("panoptic", FLAGS, "red", grass, rule=PanopticRule(things=LARGE))) == [
        ("red", 6),
        ("green", 2),
    ]


def test_a_class_that_is_hardly_there_has_no_things() -> None:
    assert described(ask("panoptic", FLAGS, "red", rule=PanopticRule(things=PRESENT))) == []


def test_in_a_video_every_region_is_answered() -> None:
    answer = ask("panoptic", FLAGS, "red", "green", rule=PanopticRule(things=LARGE), steady=lambda logits: logits)

    assert described(answer) == [("red", 6), ("red", 1), ("green", 2)]
