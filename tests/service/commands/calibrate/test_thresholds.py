"""Choose thresholds from findings."""

from __future__ import annotations

import pytest

from lexiseg_service.commands.calibrate.thresholds import Finding, choose


def right(score: float) -> Finding:
    return Finding("a", score, 90, 100, 100)


def wrong(score: float) -> Finding:
    return Finding("b", score, 0, 100, 0)


def test_the_threshold_parts_right_from_wrong() -> None:
    choice = choose([right(0.8), right(0.6), wrong(0.4), wrong(0.2)])

    assert choice.threshold == pytest.approx(0.5)
    assert choice.before == pytest.approx(180 / 420)
    assert choice.after == pytest.approx(180 / 220)
    assert choice.reason == "drops 2 of 4 segments"


def test_a_wrong_segment_with_a_high_score_drops_nothing_right() -> None:
    assert choose([right(0.8), right(0.6), right(0.5), wrong(0.9)]).threshold is None


def test_a_class_that_is_in_no_photograph_is_held_off() -> None:
    choice = choose([wrong(0.4), wrong(0.6), Finding("c", None, 0, 0, 0)])

    assert choice.threshold == pytest.approx(0.61)
    assert "in none of the photographs, though found in 2" in choice.reason


def test_without_masks_two_groups_are_parted_in_their_gap() -> None:
    scores = [0.2, 0.21, 0.22, 0.25, 0.8, 0.81, 0.84, 0.85, 0.9]

    choice = choose([Finding(str(score), score) for score in scores])

    assert choice.threshold == pytest.approx((0.25 + 0.8) / 2)
    assert (choice.before, choice.after) == (None, None)


@pytest.mark.parametrize(
    ("scores", "reason"),
    [
        ([0.1 * step for step in range(1, 10)], "two groups"),
        ([0.5] * 12, "two groups"),
        ([0.2, 0.9], "found in 2 photographs; 8 or more"),
        ([], "found in 0"),
    ],
)
def test_without_masks_anything_else_says_nothing(scores: list[float], reason: str) -> None:
    choice = choose([Finding("a", score) for score in scores])

    assert choice.threshold is None
    assert reason in choice.reason
