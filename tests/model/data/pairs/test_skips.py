"""The list of what could not be read."""

from __future__ import annotations

import json
from pathlib import Path

from lexiseg_model.data.pairs.skips import Skips
from lexiseg_model.data.pairs.source import Skipped

A, B = Skipped("a.jpg", "is cut off"), Skipped("b.jpg", "has no caption")


def test_a_pair_counts_once_however_often_it_is_drawn() -> None:
    skips = Skips()

    skips.add([A, B])
    skips.add([A])

    assert len(skips) == 2
    assert skips.summary() == "2 samples could not be read, as a.jpg: is cut off"


def test_nothing_broken_is_said_too() -> None:
    assert Skips().summary() == "every sample could be read"


def test_the_list_goes_on_after_a_resume(tmp_path: Path) -> None:
    listing = tmp_path / "skipped.jsonl"
    Skips(listing).add([A])

    resumed = Skips(listing)
    resumed.add([A, B])

    lines = [json.loads(line) for line in listing.read_text().splitlines()]
    assert [(line["name"], line["reason"]) for line in lines] == [A, B]
    assert len(resumed) == 2


def test_a_line_that_a_kill_cut_off_is_written_again(tmp_path: Path) -> None:
    listing = tmp_path / "skipped.jsonl"
    Skips(listing).add([A, B])
    listing.write_text(listing.read_text()[:-9])

    Skips(listing).add([B])

    assert [json.loads(line)["name"] for line in listing.read_text().splitlines()] == ["a.jpg", "b.jpg"]


def test_the_folder_of_the_list_need_not_be_there(tmp_path: Path) -> None:
    listing = tmp_path / "out" / "skipped.jsonl"

    Skips(listing).add([A])

    assert json.loads(listing.read_text())["name"] == "a.jpg"
