"""What the check of pairs finds."""

from __future__ import annotations

from pathlib import Path

from lexiseg_model.data.checking.pairs import check_pairs
from lexiseg_model.data.pairs.open import open_pairs
from tests.model.data.pairs.pair_files import pair, photograph, write_tar


def test_every_broken_pair_is_named(tmp_path: Path) -> None:
    broken = {"a.jpg": b"<html>", "a.txt": b"words", "b.png": photograph(1), "c.txt": b"words"}
    write_tar(tmp_path / "0.tar", pair(1) | broken | pair(2))

    checked = check_pairs(open_pairs(tmp_path))

    assert checked.photographs == {"pairs": 5}
    assert [(entry.kind, entry.file[-1]) for entry in checked.problems] == [
        ("unreadable", "a"),
        ("no caption", "b"),
        ("unreadable", "c"),
    ]


def test_a_shard_that_is_cut_off_is_named(tmp_path: Path) -> None:
    write_tar(tmp_path / "0.tar", pair(1) | pair(2))
    (tmp_path / "0.tar").write_bytes((tmp_path / "0.tar").read_bytes()[:3072])

    assert [entry.file for entry in check_pairs(open_pairs(tmp_path)).errors] == [str(tmp_path / "0.tar")]
