"""Negative points, which the prompt head of `tiny` has learned."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from lexiseg_model import tasks
from lexiseg_model.features import Features
from lexiseg_model.masks.rle import decode, encode_mask
from lexiseg_model.methods.tiny.prompting import before_corrections
from lexiseg_model.methods.tiny.segmenter import TinySegmenter
from lexiseg_model.types import Point, Prompt, Vocabulary

CUP = Point(250, 200)
BOX = (70.0, 30.0, 460.0, 380.0)
AWAY = Point(150, 200, positive=False)
MORE = Point(300, 250)


def mask_of(model: TinySegmenter, features: Features, prompt: Prompt) -> NDArray[np.bool_]:
    answer = tasks.segment("prompt", model, features, Vocabulary(()), tasks.Options(prompts=(prompt,)))
    return decode(answer.segments[0].mask).astype(bool)


def within(mask: NDArray[np.bool_], point: Point) -> bool:
    return bool(mask[int(point.y), int(point.x)])


@pytest.mark.parametrize("box", [None, BOX], ids=["click", "box"])
def test_a_negative_point_is_outside_and_the_click_stays_inside(
    tiny: TinySegmenter, coffee: Features, box: tuple[float, float, float, float] | None
) -> None:
    before = mask_of(tiny, coffee, Prompt((CUP,), box))
    ys, xs = np.nonzero(before)
    at = np.argsort(np.hypot(xs - CUP.x, ys - CUP.y))[-len(xs) // 4]  # farther than most, and not on the outline
    away = Point(float(xs[at]), float(ys[at]), positive=False)

    after = mask_of(tiny, coffee, Prompt((CUP, away), box))

    assert within(before, away)
    assert not within(after, away)
    assert within(after, CUP)


@pytest.mark.parametrize(
    ("points", "box", "first", "corrections"),
    [
        ((CUP, MORE), None, (CUP, MORE), ()),
        ((CUP, AWAY, MORE), None, (CUP,), (AWAY, MORE)),
        ((AWAY, CUP), None, (CUP,), (AWAY,)),
        ((AWAY, CUP), BOX, (), (AWAY, CUP)),
        ((AWAY,), None, (AWAY,), ()),
    ],
)
def test_points_correct_from_the_first_negative_one_on(
    points: tuple[Point, ...],
    box: tuple[float, float, float, float] | None,
    first: tuple[Point, ...],
    corrections: tuple[Point, ...],
) -> None:
    assert before_corrections(Prompt(points, box)) == (Prompt(first, box), corrections)


@pytest.mark.parametrize("point", [replace(MORE, positive=False), Point(80, 60)], ids=["removes", "adds"])
def test_a_point_changes_a_given_mask_on_its_side_alone(tiny: TinySegmenter, coffee: Features, point: Point) -> None:
    before = mask_of(tiny, coffee, Prompt(box=BOX))

    after = mask_of(tiny, coffee, Prompt((point,), mask=encode_mask(before)))

    assert within(after, point) == point.positive
    assert not (before & ~after if point.positive else after & ~before).any()
    assert (before != after).any()
