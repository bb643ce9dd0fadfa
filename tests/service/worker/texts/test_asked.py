"""What a key has asked for: its own alone, each text once, and not for ever."""

from __future__ import annotations

from lexiseg_service.worker.texts.asked import AskedBefore


def test_a_text_is_new_to_a_key_once_whoever_else_has_asked_for_it() -> None:
    asked = AskedBefore()
    asked.note("neighbour", "tower", ["sky", "sea"])

    assert asked.note("mine", "tower", ["sky", "tree"]) == 2
    assert asked.note("mine", "tower", ["sky", "sea"]) == 1


def test_another_tower_is_asked_anew() -> None:
    asked = AskedBefore()
    asked.note("mine", "tower", ["sky"])

    assert asked.note("mine", "other", ["sky"]) == 1


def test_what_was_not_asked_for_longest_is_forgotten() -> None:
    asked = AskedBefore(most=2)
    asked.note("mine", "tower", ["sky"])
    asked.note("mine", "tower", ["sea"])
    asked.note("mine", "tower", ["sky"])
    asked.note("mine", "tower", ["tree"])

    assert asked.note("mine", "tower", ["sky"]) == 0
    assert asked.note("mine", "tower", ["sea"]) == 1


def test_marks_are_counted_and_no_more_than_there_may_be() -> None:
    asked = AskedBefore(most=100)
    asked.note("mine", "tower", ["sky"])
    one = asked.nbytes
    asked.note("mine", "tower", [f"word {number}" for number in range(1000)])

    assert asked.nbytes == 100 * one > 0
