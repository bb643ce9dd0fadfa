"""Rows and marks in memory: what goes first, and what they count as."""

from __future__ import annotations

import pytest

from lexiseg_service.worker.texts.memory import AskedBefore, MemoryRows

ROW = bytes(16)


def test_a_row_that_is_kept_again_counts_once() -> None:
    memory = MemoryRows(10_000)
    memory.keep("tower", {"sky": ROW, "road": ROW})
    before = memory.nbytes

    memory.keep("tower", {"sky": ROW})

    assert memory.nbytes == before
    assert memory.find("tower", ["sky", "road"]) == {"sky": ROW, "road": ROW}


@pytest.mark.parametrize("kept_again", [True, False])
def test_a_row_that_is_kept_again_or_found_is_the_last_to_go(kept_again: bool) -> None:
    memory = MemoryRows(10_000)
    memory.keep("tower", {"sky": ROW, "sea": ROW})
    full = MemoryRows(memory.nbytes)
    full.keep("tower", {"sky": ROW, "sea": ROW})

    full.keep("tower", {"sky": ROW}) if kept_again else full.find("tower", ["sky"])
    full.keep("tower", {"bay": ROW})

    assert full.find("tower", ["sky", "sea", "bay"]).keys() == {"sky", "bay"}


def test_a_text_is_new_to_each_key_and_tower_once() -> None:
    asked = AskedBefore()
    asked.note("neighbour", "tower", ["sky", "sea"])

    assert asked.note("mine", "tower", ["sky", "tree"]) == 2
    assert asked.note("mine", "tower", ["sky", "sea"]) == 1
    assert asked.note("mine", "other", ["sky"]) == 1


def test_the_least_recently_asked_text_is_forgotten() -> None:
    asked = AskedBefore(max_marks=2)
    for text in ("sky", "sea", "sky", "tree"):
        asked.note("mine", "tower", [text])
    full = asked.nbytes

    assert asked.note("mine", "tower", ["sky"]) == 0
    assert asked.note("mine", "tower", ["sea"]) == 1
    assert asked.nbytes == full > 0
