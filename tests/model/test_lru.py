"""Of many entries the least recently used goes first."""

from __future__ import annotations

from lexiseg_model.lru import Lru


def test_what_was_not_used_for_longest_goes_first() -> None:
    kept = Lru[str, int](2)

    assert [kept.put("a", 1), kept.put("b", 2), kept.get("a"), kept.put("c", 3)] == [None, None, 1, 2]
    assert [kept.get(key) for key in "abc"] == [1, None, 3]
    assert kept.values() == (1, 3)
