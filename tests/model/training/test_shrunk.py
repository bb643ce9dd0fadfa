"""Photographs that are shrunk once and kept, as far as there is room."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lexiseg_model.data.pairs.decode import decode
from lexiseg_model.data.pairs.open import open_pairs
from lexiseg_model.data.pairs.source import Rewritten, StoredPair
from lexiseg_model.training.shrunk import Shrunk
from tests.model.training.pairs_folder import write_pairs


@dataclass(frozen=True)
class Counting(Rewritten):
    """Pairs as they are; which were read."""

    reads: list[int] = field(default_factory=list)

    def read(self, part: int, index: int) -> StoredPair:
        self.reads.append(index)
        return self.source.read(part, index)


@pytest.fixture
def source(tmp_path: Path) -> Counting:
    return Counting(open_pairs(write_pairs(tmp_path / "captions", 2)))


def test_a_photograph_is_shrunk_once(source: Counting) -> None:
    shrunk = Shrunk(source, 32)

    first, again = shrunk.read(0, 1), shrunk.read(0, 1)

    assert (first, source.reads) == (again, [1])
    assert min(decode(first).shape[:2]) == 32


def test_what_there_is_no_room_for_is_shrunk_each_time_to_the_same_bytes(source: Counting) -> None:
    room = len(Shrunk(source, 32).read(0, 0).photograph)
    source.reads.clear()
    shrunk = Shrunk(source, 32, room)

    drawn = [shrunk.read(0, index) for index in (0, 1, 0, 1)]

    assert source.reads == [0, 1, 1]
    assert drawn[1] == drawn[3]
