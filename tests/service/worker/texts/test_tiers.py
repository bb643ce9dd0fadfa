"""Rows in memory: what they count as."""

from __future__ import annotations

from lexiseg_service.worker.texts.tiers import MemoryRows

ROW = bytes(16)


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
