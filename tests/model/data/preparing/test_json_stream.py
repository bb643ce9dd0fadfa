"""Large lists are read entry by entry, wherever a piece of the file ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lexiseg_model.data.preparing import json_stream
from lexiseg_model.data.preparing.json_stream import entries

CONTENT: dict[str, Any] = {
    "info": {"year": 2010, "by": 'a "name" with ] and }'},
    "numbers": [1, 22, 333, -4.5e6],
    "images": [{"id": index, "name": f"é {index}", "size": [3, index]} for index in range(40)],
    "empty": [],
    "version": 12,
    "words": ["a", "b, c", ""],
}


@pytest.mark.parametrize("piece", [1, 2, 7, 64, 1 << 20])
@pytest.mark.parametrize("indent", [None, 2])
def test_entries_are_those_of_a_reader_of_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: int, indent: int | None
) -> None:
    monkeypatch.setattr(json_stream, "PIECE", piece)
    path = tmp_path / "large.json"
    path.write_text(json.dumps(CONTENT, indent=indent, ensure_ascii=False), encoding="utf-8")

    for name in ("numbers", "images", "empty", "words"):
        assert [entry for _, entry in entries(path, [name])] == CONTENT[name]
    assert [name for name, _ in entries(path, ["words", "numbers"])] == ["numbers"] * 4 + ["words"] * 3


@pytest.mark.parametrize("text", ["", "[1, 2]", '{"images": [{"id": 1}, {"id"', '{"images": [1, 2', '{"images"', "{"])
def test_what_is_cut_off_or_no_object_is_an_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "large.json"
    path.write_text(text)

    with pytest.raises(ValueError):  # noqa: PT011 - of json's own words
        list(entries(path, ["images"]))
