"""Pairs that are set apart from others."""

from __future__ import annotations

from pathlib import Path

import pytest

from lexiseg_model.data.pairs.open import open_pairs
from lexiseg_model.data.pairs.source import PairSource, set_apart
from lexiseg_model.errors import OptionError
from tests.model.data.pairs.pair_files import write_shards


def captions(pairs: PairSource) -> set[str]:
    return {pairs.read(part, index).captions[0] for part, size in enumerate(pairs.sizes) for index in range(size)}


def test_what_is_set_apart_is_nowhere_else(tmp_path: Path) -> None:
    write_shards(tmp_path, [4, 0, 7])
    pairs = open_pairs(tmp_path)

    rest, held_out = set_apart(pairs, 3)

    assert (sum(rest.sizes), sum(held_out.sizes)) == (8, 3)
    assert captions(rest) | captions(held_out) == captions(pairs)
    assert not captions(rest) & captions(held_out)


def test_the_seed_says_what_is_set_apart(tmp_path: Path) -> None:
    write_shards(tmp_path, [11])
    pairs = open_pairs(tmp_path)

    assert captions(set_apart(pairs, 4, seed=1)[1]) == captions(set_apart(pairs, 4, seed=1)[1])
    assert captions(set_apart(pairs, 4, seed=1)[1]) != captions(set_apart(pairs, 4, seed=2)[1])


@pytest.mark.parametrize("n_pairs", [0, 11, 12])
def test_something_must_remain(tmp_path: Path, n_pairs: int) -> None:
    write_shards(tmp_path, [11])

    with pytest.raises(OptionError, match="expected 1 to 10"):
        set_apart(open_pairs(tmp_path), n_pairs)
