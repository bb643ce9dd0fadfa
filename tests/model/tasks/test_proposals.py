"""Proposals that take classes and compete for pixels, over a Segmenter whose answers are known."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lexiseg_model import tasks
from lexiseg_model.abilities import Proposals
from lexiseg_model.cards import PanopticRule, ThingBelief
from lexiseg_model.features import Features
from lexiseg_model.tasks.regions import thing_evidence
from lexiseg_model.types import Background, ClassEntry, Segmentation, Task
from tests.model.stand_in import BACKGROUND_LOGIT, SCALE, ColourSegmenter
from tests.model.tasks.asking import ALL, PROPOSALS, ask, described, features_of, stacked, vocabulary

FLAGS = ["rrbbrrr", "rrbbrrr", "gg....b"]
SEA = ClassEntry("blue", thing=False)
ALONE = math.exp(SCALE) / (
    math.exp(SCALE) + math.exp(BACKGROUND_LOGIT)
)  # the share of one class that fits, against the background


def panoptic(*classes: str | ClassEntry, rows: list[str] = FLAGS, **more: Any) -> Segmentation:
    return ask("panoptic", rows, *classes, rule=PROPOSALS, **more)


def test_things_stay_apart_and_the_stuff_of_a_class_joins() -> None:
    answer = panoptic("red", SEA, "green")

    assert described(answer) == [("red", 6), ("red", 4), ("blue", 5), ("green", 2)]
    assert [segment.is_thing for segment in answer.segments] == [True, True, False, True]


def test_joined_stuff_scores_the_mean_of_its_pixels() -> None:
    class Doubtful(ColourSegmenter):
        """The smaller of two blue regions looks a little less blue."""

        def region_scores(self, features: Features, embeddings: Tensor, bank: object) -> Tensor:
            scores = super().region_scores(features, embeddings, bank)  # type: ignore[arg-type]
            scores[0, 1] -= 2
            return scores

    segmenter = Doubtful(tasks=ALL, panoptic=PROPOSALS)

    answer = tasks.segment("panoptic", segmenter, features_of(segmenter, ["bbbrb"]), vocabulary(SEA))

    doubtful = math.exp(SCALE - 2) / (math.exp(SCALE - 2) + math.exp(BACKGROUND_LOGIT))
    assert described(answer) == [("blue", 4)]
    assert answer.segments[0].score == pytest.approx((3 * ALONE + doubtful) / 4, rel=1e-4)


def test_a_proposal_below_the_card_s_score_does_not_compete() -> None:
    rule = PanopticRule(source="proposals", score=0.99)

    assert ask("panoptic", FLAGS, "red", rule=rule).segments == ()


def test_a_proposal_that_wins_too_little_of_itself_is_left_out() -> None:
    class Nested(ColourSegmenter):
        """Beside each region, worse by nothing, the whole picture."""

        def propose(self, features: Features) -> Proposals:
            masks, embeddings, quality = super().propose(features)
            masks[-1] = abs(masks[-1])
            return Proposals(masks, embeddings, quality)

    rows = ["rrrrrrrg"]
    for overlap, expected in ((0.1, [("red", 7), ("green", 1)]), (0.2, [("red", 7)])):
        segmenter = Nested(tasks=ALL, panoptic=PanopticRule(source="proposals", overlap=overlap))

        answer = tasks.segment("panoptic", segmenter, features_of(segmenter, rows), vocabulary("red", "green"))

        assert described(answer) == expected


def test_instances_are_the_things_of_the_panoptic_answer() -> None:
    whole, things = (ask(task, FLAGS, SEA, "red", "green", rule=PROPOSALS) for task in ("panoptic", "instance"))

    assert described(things) == described(whole)[1:]
    assert {segment.is_thing for segment in things.segments} == {True}
    np.testing.assert_array_equal(things.label_map > 0, whole.label_map > 1)


def test_where_nothing_is_proposed_the_answer_is_empty_and_no_text_is_read() -> None:
    class Blind(ColourSegmenter):
        def propose(self, features: Features) -> Proposals:
            masks, embeddings, quality = super().propose(features)
            return Proposals(masks[:0], embeddings[:0], quality[:0])

    segmenter = Blind(tasks=ALL, panoptic=PROPOSALS)

    answer = tasks.segment("panoptic", segmenter, features_of(segmenter, FLAGS), vocabulary("red"))

    assert answer.segments == ()
    assert not answer.label_map.any()
    assert segmenter.asked == []


def test_in_a_video_segments_come_from_pixels() -> None:
    segmenter = ColourSegmenter(tasks=ALL, panoptic=PROPOSALS)
    steadied: list[Tensor] = []

    def steady(logits: Tensor) -> Tensor:
        steadied.append(logits)
        return logits

    options = tasks.Options(steady=steady)
    answer = tasks.segment("panoptic", segmenter, features_of(segmenter, FLAGS), vocabulary("red", SEA), options)

    assert described(answer) == [("red", 6), ("red", 4), ("blue", 5)]
    assert len(steadied) == 1
    assert segmenter.looked == 0


@given(
    st.lists(st.text("rgba.", min_size=6, max_size=6), min_size=1, max_size=6),
    st.permutations(["red", "green", "blue"]),
    st.lists(st.sampled_from([True, False, None]), min_size=3, max_size=3),
    st.sampled_from([Background(), None]),
)
def test_panoptic_segments_are_disjoint_and_are_the_label_map(
    rows: list[str], names: list[str], things: list[bool | None], background: Background | None
) -> None:
    classes = [ClassEntry(name, thing=thing) for name, thing in zip(names, things, strict=True)]

    answer = ask("panoptic", rows, *classes, background=background, rule=PROPOSALS)

    masks = stacked(answer)
    assert masks.sum(0).max(initial=0) <= 1
    for segment, mask in zip(answer.segments, masks, strict=True):
        np.testing.assert_array_equal(answer.label_map == segment.id, mask)
    stuff = [segment.label for segment in answer.segments if not segment.is_thing]
    assert len(stuff) == len(set(stuff))
    assert answer.label_map.max(initial=0) == len(answer.segments)


APART = ["rr.gg.", "rr....", "rr...r"]  # a red region of 6 pixels, one of 1, a green one of 2
LARGE = ThingBelief(probability=0, area=1, presence=0, bias=-math.log(0.2), least=0.5)  # a fifth of the picture
PRESENT = ThingBelief(probability=0, area=0, presence=1, bias=-1, least=0.5)  # surer than can be


def test_evidence_is_probability_area_and_presence_as_logarithms() -> None:
    presence, probability, area = torch.tensor([[3.0, -2.0], [0.5, 0.5], [0.5, 0.125]], dtype=torch.float64)

    half, sure, hardly = (math.log(share) for share in (0.5, 1 / (1 + math.exp(-3)), 1 / (1 + math.exp(2))))
    expected = [[half, half, sure], [half, math.log(1 / 8), hardly]]
    np.testing.assert_allclose(thing_evidence(presence, probability, area), expected)


@pytest.mark.parametrize("task", ["instance", "panoptic"])
def test_a_region_that_is_not_believed_is_background(task: Task) -> None:
    assert described(ask(task, APART, "red", "green")) == [("red", 6), ("red", 1), ("green", 2)]
    assert described(ask(task, APART, "red", "green", rule=PanopticRule(things=LARGE))) == [("red", 6)]


def test_stuff_is_never_disbelieved() -> None:
    grass = ClassEntry("green", thing=False)

    assert described(ask("panoptic", APART, "red", grass, rule=PanopticRule(things=LARGE))) == [
        ("red", 6),
        ("green", 2),
    ]


def test_a_class_that_is_hardly_there_has_no_things() -> None:
    assert described(ask("panoptic", APART, "red", rule=PanopticRule(things=PRESENT))) == []


def test_in_a_video_every_region_is_answered() -> None:
    answer = ask("panoptic", APART, "red", "green", rule=PanopticRule(things=LARGE), steady=lambda logits: logits)

    assert described(answer) == [("red", 6), ("red", 1), ("green", 2)]
