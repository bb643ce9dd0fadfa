"""Masks for points and boxes, over a Segmenter whose answers are known."""

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lexiseg_model import tasks
from lexiseg_model.abilities import PromptMasks
from lexiseg_model.errors import FieldError, OptionError
from lexiseg_model.features import Features
from lexiseg_model.masks.overlay import paint
from lexiseg_model.masks.rle import decode
from lexiseg_model.tasks import cut_outs
from lexiseg_model.types import ClassEntry, Point, Prompt, Segmentation
from tests.model.stand_in import BACKGROUND_LOGIT, INSIDE, QUALITIES, SCALE, SURE, ColourSegmenter
from tests.model.tasks.asking import ALL, Gone, Patience, ask, features_of, vocabulary

FLAGS = ["rrbbrr", "rrbbrr", "gg...."]
CLICK = Prompt((Point(0.5, 0.5),))  # on the left red
BOX = Prompt(box=(2, 0, 5, 3))  # 4 blue, 2 red, 3 black
APART = Prompt((Point(0, 0), Point(2, 1, positive=False)))  # one answer: the left red


def click(*prompts: Prompt, rows: Sequence[str] = FLAGS) -> Segmentation:
    return ask("prompt", rows, prompts=prompts)


def named(*classes: str | ClassEntry, prompt: Prompt = CLICK, **more: Any) -> Segmentation:
    return ask("prompt", FLAGS, *classes, prompts=(prompt,), **more)


LEFT_RED = click(CLICK).segments[0].mask


@pytest.mark.parametrize(
    ("shown", "rows"),
    [
        (Prompt((Point(4.5, 0.5),)), ["##..##", "##..##", "......"]),  # the right red
        (Prompt(box=(2, 0, 4, 2)), ["####..", "####..", "......"]),
        (
            Prompt((Point(1, 1, positive=False),)),
            ["##....", "#.....", "......"],
        ),  # what a click there shows is all of it
        (Prompt((Point(4.5, 0.5), Point(0, 0, positive=False))), ["....##", "....##", "......"]),
    ],
)
def test_points_and_a_box_add_to_a_mask_or_remove_from_it(shown: Prompt, rows: list[str]) -> None:
    answer = click(replace(shown, mask=LEFT_RED))

    (segment,) = answer.segments
    assert ["".join(".#"[pixel] for pixel in row) for row in decode(segment.mask).astype(int)] == rows
    assert (segment.prompt_index, segment.mask_index) == (0, 0)


def test_a_corrected_segment_keeps_its_label_and_id_among_other_prompts() -> None:
    words = ask("semantic", FLAGS, "red", "blue")
    blue = next(segment for segment in words.segments if segment.label == "blue")

    answer = ask("prompt", FLAGS, "red", "blue", prompts=(Prompt((Point(0.5, 2.5),), segment=blue.id), CLICK))

    assert [segment.prompt_index for segment in answer.segments] == [0, 1, 1, 1]
    corrected = answer.segments[0]
    assert (corrected.label, corrected.id, corrected.score) == ("blue", blue.id, blue.score)
    assert corrected.mask.area == blue.mask.area + 2  # the green
    assert len({segment.id for segment in answer.segments}) == len(answer.segments)


def test_a_segment_that_is_corrected_twice_gives_two_ids() -> None:
    (_, blue) = ask("semantic", FLAGS, "red", "blue").segments
    correction = Prompt((Point(0.5, 2.5),), segment=blue.id)

    answer = ask("prompt", FLAGS, "red", "blue", prompts=(correction, correction))

    assert [segment.id for segment in answer.segments] == [blue.id, 1]


def test_the_map_and_the_overlay_of_a_corrected_segment_have_its_id() -> None:
    (_, blue) = ask("semantic", FLAGS, "red", "blue").segments

    answer = ask("prompt", FLAGS, "red", "blue", prompts=(Prompt((Point(0.5, 2.5),), segment=blue.id),))

    assert blue.id > len(answer.segments)
    assert np.unique(answer.label_map).tolist() == [0, blue.id]
    assert paint(np.zeros((3, 6, 3), np.uint8), answer.label_map, answer.segments).shape == (3, 6, 3)


class Backwards(ColourSegmenter):
    """A lone click may mean the whole picture first, then all of its colour, and its region last."""

    def prompt(self, features: Features, prompts: Sequence[Prompt]) -> list[PromptMasks]:
        return [PromptMasks(masks.flip(0), quality) for masks, quality in super().prompt(features, prompts)]


@pytest.mark.parametrize(
    ("points", "rows"),
    [
        ((Point(0.5, 2.5),), ["..##..", "..##..", "##...."]),
        ((Point(3.5, 2.5),), ["..##..", "..##..", "..####"]),
        ((Point(0.5, 2.5), Point(3.5, 2.5)), ["..##..", "..##..", "######"]),
        ((Point(0.5, 0.5),), ["####..", "####..", "......"]),  # of another label, which the user sees
    ],
)
@pytest.mark.parametrize("how", ["segment", "mask"])
def test_a_point_adds_the_smallest_mask_around_it(points: tuple[Point, ...], rows: list[str], how: str) -> None:
    segmenter = Backwards((), ALL)
    features, words = features_of(segmenter, FLAGS), vocabulary("red", "blue")
    _, blue = tasks.segment("semantic", segmenter, features, words).segments
    corrects = Prompt(points, segment=blue.id) if how == "segment" else Prompt(points, mask=blue.mask)

    answer = tasks.segment("prompt", segmenter, features, words, tasks.Options(prompts=(corrects,)))

    (segment,) = answer.segments
    assert ["".join(".#"[pixel] for pixel in row) for row in decode(segment.mask).astype(int)] == rows


class Greedy(ColourSegmenter):
    """A lone click means the whole picture."""

    def prompt(self, features: Features, prompts: Sequence[Prompt]) -> list[PromptMasks]:
        return [PromptMasks(masks[-1:], quality[-1:]) for masks, quality in super().prompt(features, prompts)]


@pytest.mark.parametrize(
    ("point", "rows"),
    [
        (Point(0.5, 2.5), ["..##..", "..##..", "######"]),
        (Point(0.5, 0.5), ["######", "######", "######"]),
    ],
    ids=["beside all labels", "on red"],
)
def test_a_point_takes_pixels_of_the_label_that_it_is_on_and_of_no_other(point: Point, rows: list[str]) -> None:
    assert corrected(Greedy((), ALL), point) == rows


def corrected(segmenter: ColourSegmenter, point: Point, rows: Sequence[str] = FLAGS) -> list[str]:
    """The rows of what is blue, beside what is red, after a point."""
    features, words = features_of(segmenter, rows), vocabulary("red", "blue")
    _, blue = tasks.segment("semantic", segmenter, features, words).segments
    options = tasks.Options(prompts=(Prompt((point,), segment=blue.id),))

    (segment,) = tasks.segment("prompt", segmenter, features, words, options).segments

    return ["".join(".#"[pixel] for pixel in row) for row in decode(segment.mask).astype(int)]


class Learned(Backwards):
    """Its head is sure that the columns from the fifth on stay outside of a mask, or that they alone stay inside."""

    def mask_cells(self, features: Features) -> tuple[int, int]:
        return features.size

    def after_point(self, features: Features, mask: Tensor, point: Point) -> PromptMasks:
        after = mask.clone().clamp_min(-1)
        if point.positive:
            after[:, 4:] = -INSIDE
        else:
            after[:, :4] = -INSIDE
        return PromptMasks(after[None], torch.tensor([SURE]))


@pytest.mark.parametrize(
    ("rows", "point", "after"),
    [
        (FLAGS, Point(3.5, 2.5), ["..##..", "..##..", "..##.."]),
        (["rrbbbbbb"] * 3, Point(2.5, 0.5, positive=False), ["....####"] * 3),
    ],
    ids=["adds", "removes"],
)
def test_a_head_that_has_learned_corrections_says_what_a_point_may_change(
    rows: list[str], point: Point, after: list[str]
) -> None:
    assert corrected(Learned((), ALL), point, rows) == after


class LearnedAndGuided(Learned):
    """Its head's masks have half the sides of what masks are refined by."""

    def guide(self, features: Features) -> Tensor:
        return features.tensors["pixels"][:3].float().repeat_interleave(2, 1).repeat_interleave(2, 2)


@pytest.mark.parametrize("positive", [True, False])
def test_a_correction_is_refined_by_colours_that_have_other_cells_than_the_head(positive: bool) -> None:
    segmenter, point = LearnedAndGuided((), ALL), Point(0.5, 0.5, positive=positive)
    features, options = features_of(segmenter, FLAGS), tasks.Options(prompts=(Prompt((point,), mask=LEFT_RED),))

    answer = tasks.segment("prompt", segmenter, features, vocabulary(), replace(options, refine="pamr"))

    assert (answer.segments[0].area < LEFT_RED.area) != positive


def test_what_is_added_to_a_mask_of_no_label_may_lie_in_all() -> None:
    green = click(Prompt((Point(0.5, 2.5),))).segments[0].mask

    answer = named("red", "blue", prompt=Prompt((Point(0.5, 0.5),), mask=green))

    assert answer.segments[0].mask.area == 2 + 4


@pytest.mark.parametrize(
    ("prompt", "field"),
    [
        (Prompt((Point(0, 0),), segment=9), "prompts.0.segment"),
        (Prompt((Point(0, 0),), mask=replace(LEFT_RED, counts="zz")), "prompts.0.mask.counts"),
        (Prompt(mask=replace(LEFT_RED, counts="b0")), "prompts.0.mask.counts"),  # no pixel, and nothing to add
    ],
)
def test_a_mask_or_segment_that_is_not_there_is_named(prompt: Prompt, field: str) -> None:
    with pytest.raises(FieldError, match=field):
        named("red", "blue", prompt=prompt)


def test_all_masks_of_a_prompt_come_best_first() -> None:
    answer = click(CLICK)

    assert [segment.area for segment in answer.segments] == [4, 8, 18]
    assert [segment.mask_index for segment in answer.segments] == [0, 1, 2]
    assert [segment.quality for segment in answer.segments] == pytest.approx(QUALITIES)


def test_without_classes_labels_are_null_and_the_score_is_the_quality() -> None:
    for segment in click(CLICK, BOX).segments:
        assert segment.label is None
        assert segment.class_index is None
        assert segment.score == segment.quality


def test_with_classes_a_segment_has_the_label_of_its_best_class() -> None:
    answer = named("green", "blue", "red")

    first = answer.segments[0]
    assert (first.label, first.class_index) == ("red", 2)
    assert first.score == pytest.approx(math.exp(SCALE) / (math.exp(SCALE) + math.exp(BACKGROUND_LOGIT) + 2), rel=1e-4)
    assert first.quality == pytest.approx(QUALITIES[0])


def test_where_the_background_wins_the_label_is_null_and_the_score_the_quality() -> None:
    first = named("green").segments[0]

    assert (first.label, first.class_index, first.score) == (None, None, first.quality)


NOTHING = Prompt((Point(0, 0), Point(0, 0, positive=False)))


@pytest.mark.parametrize("classes", [(), ("red",)], ids=["no classes", "classes"])
def test_a_mask_without_pixels_is_answered_without_a_label(classes: tuple[str, ...]) -> None:
    (segment,) = named(*classes, prompt=NOTHING).segments

    assert (segment.area, segment.bbox, segment.label) == (0, (0, 0, 0, 0), None)
    assert segment.score == segment.quality == pytest.approx(SURE)


def test_of_overlapping_segments_the_best_of_each_prompt_are_on_the_label_map_the_earlier_on_top() -> None:
    reds = Prompt((Point(0, 0), Point(5, 0), Point(2, 0)))  # and the blue between them

    answer = click(CLICK, reds)

    assert answer.overlapping
    assert answer.label_map.tolist() == [[1, 1, 4, 4, 4, 4], [1, 1, 4, 4, 4, 4], [0] * 6]


def test_many_prompts_are_answered_as_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = (CLICK, BOX, NOTHING, APART, CLICK)
    together = ask("prompt", FLAGS, "red", "blue", prompts=prompts, keep_probability=True)

    monkeypatch.setattr(cut_outs, "MASKS_AT_ONCE", 1)
    one_by_one = ask("prompt", FLAGS, "red", "blue", prompts=prompts, keep_probability=True)

    assert one_by_one.segments == together.segments
    np.testing.assert_array_equal(one_by_one.probability, together.probability)


def test_confidence_falls_towards_the_edge_of_what_the_label_map_shows() -> None:
    answer = ask("prompt", FLAGS, prompts=(CLICK,), keep_probability=True)

    assert answer.probability is not None
    np.testing.assert_allclose(answer.probability, 1 / (1 + math.exp(-INSIDE)), atol=1e-3)


class Unlearned(ColourSegmenter):
    """Its head has not learned negative points."""

    prompt_with_negatives = None  # type: ignore[assignment]


def test_a_model_that_has_not_learned_negative_points_refuses_them_by_their_place() -> None:
    segmenter = Unlearned(tasks=ALL)
    options = tasks.Options(prompts=(CLICK, Prompt((Point(0, 0),), mask=LEFT_RED), APART))

    with pytest.raises(FieldError, match=r"prompts\.2\.points: expected positive points"):
        tasks.segment("prompt", segmenter, features_of(segmenter, FLAGS), vocabulary(), options)


class Guided(ColourSegmenter):
    """Answers are the left half, whatever is there; the guide is the picture."""

    def prompt(self, features: Features, prompts: Sequence[Prompt]) -> list[PromptMasks]:
        masks = torch.full((1, *features.size), -1.0)
        masks[..., : features.size[1] // 2] = 1
        return [PromptMasks(masks, torch.tensor([SURE])) for _ in prompts]

    def guide(self, features: Features) -> Tensor:
        return features.tensors["pixels"][:3].float() * 4


def test_refined_masks_follow_the_colours() -> None:
    segmenter = Guided(tasks=ALL)
    rows = [20 * "r" + 12 * "b"] * 24  # the half ends four pixels before the colour does
    features = features_of(segmenter, rows)

    raw, refined = (
        tasks.segment("prompt", segmenter, features, vocabulary(), tasks.Options(prompts=(CLICK,), refine=refine))
        for refine in ("none", "pamr")
    )

    red = np.arange(32) < [[20]] * 24
    assert (decode(refined.segments[0].mask) != red).sum() < (decode(raw.segments[0].mask) != red).sum() / 2
    assert refined.segments[0].mask.size == (24, 32)


def test_the_task_needs_prompts_and_refinement_what_is_kept_to_refine_by() -> None:
    with pytest.raises(OptionError, match="at least one prompt, none came"):
        ask("prompt", FLAGS)
    with pytest.raises(OptionError, match="refine must be none"):
        ask("prompt", FLAGS, prompts=(CLICK,), refine="pamr")


class Listening(ColourSegmenter):
    """Keeps what it was asked, pass by pass."""

    def __init__(self) -> None:
        super().__init__(tasks=ALL)
        self.passes: list[Sequence[Prompt]] = []

    def prompt(self, features: Features, prompts: Sequence[Prompt]) -> list[PromptMasks]:
        self.passes.append(prompts)
        return super().prompt(features, prompts)


def test_work_that_nobody_waits_for_ends_between_prompts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cut_outs, "MASKS_AT_ONCE", 1)
    segmenter = Listening()
    # Asked before and after the head, and before each of the three masks of a click.
    options = tasks.Options(prompts=(CLICK,) * 9, check=Patience(11))

    with pytest.raises(Gone):
        tasks.segment("prompt", segmenter, features_of(segmenter, FLAGS), vocabulary(), options)

    assert [len(some) for some in segmenter.passes] == [1, 1, 1]


def test_prompts_of_many_points_are_asked_in_steps_of_bounded_work() -> None:
    segmenter = Listening()
    seen: list[int] = []  # passes before each check
    negatives = tuple(Point(x, 2, positive=False) for x in range(6))
    prompts = (Prompt((Point(0, 0), *negatives)),) * 40  # a head corrects each point by point: 7 passes
    options = tasks.Options(prompts=prompts, check=lambda: seen.append(len(segmenter.passes)))

    tasks.segment("prompt", segmenter, features_of(segmenter, FLAGS), vocabulary(), options)

    steps = [7 * sum(map(len, segmenter.passes[one:other])) for one, other in pairwise([0, *seen, None])]
    assert sum(steps) == 280
    assert max(steps) <= cut_outs.MASKS_AT_ONCE


@pytest.mark.parametrize(("prompt", "turns"), [(CLICK, [32, 8]), (BOX, [8, 8, 8, 8, 8])], ids=["clicks", "boxes"])
def test_the_first_prompts_of_a_request_may_be_looked_at_closer(prompt: Prompt, turns: list[int]) -> None:
    segmenter = Listening()
    features, options = features_of(segmenter, FLAGS), tasks.Options(prompts=(prompt,) * 40)
    answer = tasks.segment("prompt", segmenter, features, vocabulary(), options, segmenter.encode_texts)

    assert [len(some) for some in segmenter.passes] == turns
    assert [each.single_pass for some in segmenter.passes for each in some] == [False] * 32 + [True] * 8
    assert {segment.prompt_index for segment in answer.segments} == set(range(40))
