"""Pair sources: splits, unreadable samples, replacements."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from lexiseg_model.data.pairs.files import open_pairs
from lexiseg_model.data.pairs.source import PairSource, Skipped, Skips, first_readable, set_apart
from lexiseg_model.errors import OptionError, SampleError
from tests.model.data.pairs.pair_files import write_shards


def captions(pairs: PairSource) -> set[str]:
    return {pairs.read(part, index).captions[0] for part, size in enumerate(pairs.sizes) for index in range(size)}


def test_held_out_pairs_are_not_in_the_rest(tmp_path: Path) -> None:
    write_shards(tmp_path, [4, 0, 7])
    pairs = open_pairs(tmp_path)

    rest, held_out = set_apart(pairs, 3)

    assert (sum(rest.sizes), sum(held_out.sizes)) == (8, 3)
    assert captions(rest) | captions(held_out) == captions(pairs)
    assert not captions(rest) & captions(held_out)


@pytest.mark.parametrize("n_pairs", [0, 11, 12])
def test_holding_out_all_pairs_is_refused(tmp_path: Path, n_pairs: int) -> None:
    write_shards(tmp_path, [11])

    with pytest.raises(OptionError, match="expected 1 to 10"):
        set_apart(open_pairs(tmp_path), n_pairs)


A, B = Skipped("a.jpg", "is cut off"), Skipped("b.jpg", "has no caption")


def test_the_list_of_skipped_samples_is_continued_after_a_resume(tmp_path: Path) -> None:
    listing = tmp_path / "skipped.jsonl"
    Skips(listing).add([A])

    resumed = Skips(listing)
    resumed.add([A, B])

    lines = [json.loads(line) for line in listing.read_text().splitlines()]
    assert [(line["name"], line["reason"]) for line in lines] == [A, B]
    assert len(resumed) == 2


def read_but(broken: set[int], index: int) -> str:
    if index in broken:
        raise SampleError(f"{index}.jpg", "is cut off")
    return f"content of {index}"


def test_a_broken_sample_is_reported_and_replaced() -> None:
    drawn = np.random.default_rng(0).integers(10, size=2).tolist()

    content, skipped = first_readable(
        3, 10, lambda index: read_but({3, drawn[0]} - {drawn[1]}, index), np.random.default_rng(0)
    )

    assert content == f"content of {drawn[1]}"
    assert skipped == (("3.jpg", "is cut off"), (f"{drawn[0]}.jpg", "is cut off"))
