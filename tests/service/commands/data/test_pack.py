"""`lexiseg data pack` as the shell sees it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.model.data.pairs.pair_files import photograph
from tests.service.commands.command_line import CommandLine


@pytest.fixture
def table(tmp_path: Path) -> Path:
    (tmp_path / "a.png").write_bytes(photograph(1))
    (tmp_path / "b.png").write_bytes(b"<html>")
    (tmp_path / "pairs.csv").write_text("image,caption\na.png,one\nb.png,two\n")
    return tmp_path / "pairs.csv"


def test_shards_are_written_and_what_is_broken_is_told(lexiseg: CommandLine, table: Path, tmp_path: Path) -> None:
    outcome = lexiseg("data", "pack", table, tmp_path / "shards")

    assert outcome.status == 0
    assert (
        f"{tmp_path}/shards: 1 pairs in 1 shards\n1 are broken and lie in {tmp_path}/shards/quarantine" in outcome.out
    )
    assert f"  {tmp_path}/b.png: cannot be read as an image" in outcome.out
    assert outcome.err.startswith(f"{tmp_path}/shards: 2 of 2, ")
    again = lexiseg("data", "pack", table, tmp_path / "shards")
    assert "1 pairs in 1 shards, 2 of the source's pairs were done before" in again.out


def test_a_lone_folder_is_refused(lexiseg: CommandLine, table: Path) -> None:
    outcome = lexiseg("data", "pack", table)

    assert outcome.status == 2
    assert "expected SRC and DST" in outcome.err
