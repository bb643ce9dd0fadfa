"""Shrunk photographs, and retrieval of held-out pairs."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch

from lexiseg_model.data.pairs.files import open_pairs
from lexiseg_model.data.pairs.source import Rewritten, StoredPair, decode
from lexiseg_model.training.pairs import Shrunk
from lexiseg_model.training.retrieval import recall
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


def test_recall_counts_both_directions() -> None:
    likeness = torch.tensor([[0.9, 0.1, 0.2], [0.8, 0.3, 0.7], [0.1, 0.2, 0.6]])

    # Photograph 1 has its caption third; caption 2 has its photograph second, all others are first.
    expected = {"recall_at_1": 50 * (2 / 3 + 2 / 3), "recall_at_2": 50 * (2 / 3 + 1), "recall_at_3": 100}
    assert recall(likeness, (1, 2, 3)) == pytest.approx(expected)
