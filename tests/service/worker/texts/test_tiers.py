"""Rows in memory: what they count as."""

from __future__ import annotations

import numpy as np
import pytest

from lexiseg_service.worker.texts.tiers import LONGEST, MOST_LISTS, MemoryRows

ROW = bytes(16)
LAID_OUT = np.zeros((2, 8), np.float16)


def test_a_row_that_is_kept_again_counts_once() -> None:
    memory = MemoryRows(10_000)
    memory.keep("tower", {"sky": ROW, "road": ROW})
    before = memory.nbytes

    memory.keep("tower", {"sky": ROW})

    assert memory.nbytes == before
    assert memory.find("tower", ["sky", "road"]) == {"sky": ROW, "road": ROW}


def test_a_row_that_is_kept_again_is_the_last_to_go() -> None:
    memory = MemoryRows(10_000)
    memory.keep("tower", {"sky": ROW, "sea": ROW})
    room = MemoryRows(memory.nbytes)
    room.keep("tower", {"sky": ROW, "sea": ROW})
    room.keep("tower", {"sky": ROW})

    room.keep("tower", {"bay": ROW})

    assert room.find("tower", ["sky", "sea", "bay"]).keys() == {"sky", "bay"}


def with_a_list(room: int = 10_000) -> tuple[MemoryRows, list[str]]:
    """Two texts, and the list that their rows are laid out for."""
    memory, texts = MemoryRows(room), ["sky", "sea"]
    memory.keep("tower", {"sky": ROW, "sea": ROW})
    memory.lay_out("tower", texts, memory.find("tower", texts), LAID_OUT)
    return memory, texts


def test_a_list_that_comes_again_has_its_rows_as_they_were_laid_out() -> None:
    memory, texts = with_a_list()

    known = memory.laid_out("tower", texts)

    assert known is not None
    assert known.rows is LAID_OUT
    assert known.distinct == 2


def test_an_equal_list_or_another_tower_is_another() -> None:
    memory, texts = with_a_list()

    assert memory.laid_out("tower", [*texts]) is None
    assert memory.laid_out("other", texts) is None


def test_a_list_that_has_changed_is_another() -> None:
    memory, texts = with_a_list()

    texts[0] = "sea"

    assert memory.laid_out("tower", texts) is None


def test_a_row_that_goes_or_changes_takes_its_lists_along() -> None:
    full = MemoryRows(0)
    full.keep("tower", {"sky": ROW, "sea": ROW})
    memory, texts = with_a_list()

    memory.keep("tower", {"sky": bytes(range(16))})

    assert memory.laid_out("tower", texts) is None
    full.lay_out("tower", texts, {"sky": ROW, "sea": ROW}, LAID_OUT)
    assert full.laid_out("tower", texts) is None


def test_a_row_that_is_kept_again_as_it_was_leaves_its_lists() -> None:
    memory, texts = with_a_list()

    memory.keep("tower", {"sky": bytes(16), "bay": ROW})

    assert memory.laid_out("tower", texts) is not None


def test_texts_of_a_list_count_as_just_used() -> None:
    memory = MemoryRows(10_000)
    memory.keep("tower", {"sky": ROW, "sea": ROW, "bay": ROW})
    room, texts = with_a_list(memory.nbytes + LAID_OUT.nbytes)
    room.keep("tower", {"bay": ROW})
    room.laid_out("tower", texts)

    room.keep("tower", {"fog": ROW})

    assert room.find("tower", ["sky", "sea", "bay", "fog"]).keys() == {"sky", "sea", "fog"}
    assert room.laid_out("tower", texts) is None  # for a row has gone


def test_rows_that_are_laid_out_count_too_and_go_first() -> None:
    plain = MemoryRows(10_000)
    plain.keep("tower", {"sky": ROW, "sea": ROW})
    memory, texts = with_a_list(plain.nbytes + LAID_OUT.nbytes)
    memory.lay_out("tower", texts, memory.find("tower", texts), LAID_OUT)
    assert memory.nbytes == plain.nbytes + LAID_OUT.nbytes

    full, texts = with_a_list(plain.nbytes)

    assert full.laid_out("tower", texts) is None
    assert full.find("tower", texts).keys() == {"sky", "sea"}


@pytest.mark.parametrize("n_lists", [MOST_LISTS, MOST_LISTS + 1])
def test_of_many_lists_the_latest_are_kept(n_lists: int) -> None:
    memory, texts = with_a_list()
    memory.laid_out("tower", texts)
    others = [["sky"] for _ in range(n_lists - 1)]

    for other in others:
        memory.lay_out("tower", other, memory.find("tower", other), LAID_OUT[:1])

    assert (memory.laid_out("tower", texts) is None) == (n_lists > MOST_LISTS)


def test_a_long_list_is_not_kept() -> None:
    memory, texts = MemoryRows(1_000_000), [str(number) for number in range(LONGEST + 1)]
    memory.keep("tower", dict.fromkeys(texts, ROW))

    memory.lay_out("tower", texts, memory.find("tower", texts), np.zeros((len(texts), 8), np.float16))

    assert memory.laid_out("tower", texts) is None
