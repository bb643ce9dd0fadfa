"""What an evaluation has found out about each image, in files, so that a run that was killed goes on where it was.

Each process of each run appends to a file of its own, one line an image. A line that a crash has cut short is not
there: its image is done again. Nothing is summed up before the end, so the figures depend neither on the order nor on
the number of processes.
"""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lexiseg_model.errors import DatasetError

Record = dict[str, Any]  # JSON values


class RecordFile:
    """Appends records; use it as a context manager."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = (folder / f"{uuid.uuid4().hex}.jsonl").open("x", encoding="utf-8")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, name: str, record: Record) -> None:
        """Writes one image's record, through to the file system."""
        self._file.write(json.dumps([name, record], separators=(",", ":")) + "\n")
        self._file.flush()


def read_records(folder: Path) -> dict[str, Record]:
    """The records of all files, by the image's name.

    Raises:
        DatasetError: a whole line is damaged, or two name the same image: two runs went on at the same time.
    """
    records: dict[str, Record] = {}
    for path in sorted(folder.glob("*.jsonl")):
        lines = path.read_text(encoding="utf-8").split("\n")
        for number, line in enumerate(lines[:-1], 1):  # behind the last newline: nothing, or a line cut short
            try:
                name, record = json.loads(line)
            except (ValueError, TypeError) as error:
                raise DatasetError(f"{path}, line {number} is damaged ({error!r}); delete the file") from None
            if name in records:
                raise DatasetError(f"{folder} holds {name!r} twice: two evaluations ran at once; delete it")
            records[name] = record
    return records
