"""The ledger of a data set: a file in its folder with the question, then a line for each picture that is done.

So a run that ends early, however it ends, leaves what it has done; one with the same question goes on with the rest.
The pictures can be iterated again without being held.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lexiseg_labels.data_set import Picture
from lexiseg_labels.json_text import json_text
from lexiseg_labels.segments import read_size, run_lengths, segment_json, segment_of

LEDGER = ".lexiseg.jsonl"
QUESTION = "asked"  # in the first line
TEXTS = ("name", "source", "suffix", "link", "model")


def row_of(picture: Picture) -> dict[str, Any]:
    """A picture without its file, every mask as run lengths. Raises NoMasks: requested with mask="none"."""
    segments = [
        segment_json(segment) | {"mask": {"format": "coco_rle", **run_lengths(segment)}} for segment in picture.segments
    ]
    return {name: getattr(picture, name) for name in TEXTS} | {"size": list(picture.size), "segments": segments}


def picture_of(row: Mapping[str, Any]) -> Picture:
    """A picture from `row_of`. Raises TypeError, ValueError, LookupError: a member is missing or invalid."""
    size = read_size(row["size"])
    texts = {name: row[name] for name in TEXTS}
    return Picture(size=size, segments=[segment_of(entry, size, None) for entry in row["segments"]], **texts)


def question_in(folder: Path) -> Any:
    """The question of the ledger in a folder; None: there is none."""
    try:
        with (folder / LEDGER).open("rb") as lines:
            first = json.loads(lines.readline())
    except (OSError, ValueError):
        return None
    return first.get(QUESTION) if isinstance(first, dict) else None


class Ledger:
    """The ledger in a folder. That of another question is replaced with the first row.

    Args:
        folder: of the data set; made with the first row.
        question: as JSON.

    Raises:
        OSError: it cannot be read or written.
    """

    def __init__(self, folder: Path, question: Mapping[str, Any]) -> None:
        self._path = folder / LEDGER
        self._question = question
        self._is_begun = question_in(folder) == question
        if self._is_begun:
            self._cut_to_whole_lines()

    def _cut_to_whole_lines(self) -> None:
        """A kill may have cut the last one short."""
        with self._path.open("r+b") as file:
            end = 0
            for line in file:
                end += len(line) if line.endswith(b"\n") else 0
            file.truncate(end)

    def rows(self) -> Iterator[dict[str, Any]]:
        """The rows, one in memory at a time: masks of thousands of pictures are large."""
        if self._is_begun:
            with self._path.open("rb") as lines:
                next(lines, None)
                yield from map(json.loads, lines)

    def add(self, row: Mapping[str, Any]) -> None:
        """Add a row; the files of its picture are there."""
        lines = [row] if self._is_begun else [{QUESTION: self._question}, row]
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("ab" if self._is_begun else "wb") as file:
            file.write("".join(f"{json_text(line)}\n" for line in lines).encode())
        self._is_begun = True
