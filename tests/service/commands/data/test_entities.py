"""`lexiseg data entities` as the shell sees it."""

from __future__ import annotations

import json
from pathlib import Path

from tests.model.training.pairs_folder import write_pairs
from tests.service.commands.command_line import CommandLine


def test_captions_are_parsed_beside_their_set(lexiseg: CommandLine, tmp_path: Path) -> None:
    pairs = write_pairs(tmp_path / "captions", 2)

    outcome = lexiseg("data", "entities", pairs, "--parser", "plain")

    assert outcome.status == 0
    assert outcome.out == f"{pairs}/entities.jsonl: 2 pairs\n"
    first = json.loads((pairs / "entities.jsonl").read_text().splitlines()[0])
    assert first["name"] == "images/000.jpg"
    assert first["entities"] == ["red square", "red", "grey"]
    again = lexiseg("data", "entities", pairs, "--parser", "plain")
    assert "0 pairs, 2 were there before" in again.out
