"""A folder, local or in an object store, as the ledger of one job: chunks of a plan are its parts.

    DST/bulk.json                 question, source, numbers of inputs and chunks; written when the plan is complete
    DST/question                  what the question named when the job was planned
    DST/plan/00000000.parquet     the inputs of chunk 0
    DST/rows/00000000.parquet     results of chunk 0, in the order of the plan; written atomically

A chunk is committed when its file of rows exists. So a killed job resumes from only the folder, and a chunk that two
processes worked on still has one file.

It is no `Ledger` of jobs: the folder may be a bucket, which holds neither SQLite nor locks, and its actors reach no
Redis; whoever runs the command has no quota, no lease and no notice. What both share is the loop, and `Part`.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import itertools
import json
import os
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow
import pyarrow.parquet

from lexiseg_client.calling.mapping import map_threads
from lexiseg_model.catalogue.store import UNFINISHED, connect_store, write_whole
from lexiseg_model.errors import DatasetError, OptionError
from lexiseg_model.files.names import as_text, to_utf8
from lexiseg_service.batch.ledger.job import Line
from lexiseg_service.batch.rows import FAILED, OK, ROWS, Row, open_parquet, row_of_line
from lexiseg_service.batch.sources.source import Picture

RECORD = "bulk.json"
QUESTION = "question"
COUNTING_THREADS = 8
MAX_IDS_IN_MESSAGE = 5  # ids in a message


class Size(NamedTuple):
    """Numbers of inputs and chunks of a plan."""

    inputs: int
    chunks: int


class Destination:
    """The folder of a job, local or in an object store."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._store, self._root = connect_store(url)

    def read(self, name: str) -> bytes | None:
        """A file's content; None if it does not exist."""
        try:
            return bytes(self._store.cat_file(f"{self._root}/{name}"))
        except FileNotFoundError:
            return None

    def write(self, name: str, content: bytes) -> None:
        write_whole(self._store, f"{self._root}/{name}", content)

    def open(self, name: str, mode: str = "rb") -> Any:
        """Open a file of the folder; a mode for writing creates its parent folders."""
        if mode != "rb":
            self._store.makedirs(f"{self._root}/{name}".rpartition("/")[0], exist_ok=True)
        return self._store.open(f"{self._root}/{name}", mode)

    def remove_unfinished(self) -> None:
        """Remove files that a killed process left half written."""
        for name in self._names("rows"):
            if name.endswith(UNFINISHED):
                self._store.rm_file(f"{self._root}/rows/{name}")

    def complete_chunks(self) -> set[int]:
        names = (name.partition(".") for name in self._names("rows"))
        return {int(stem) for stem, _, suffix in names if suffix == "parquet" and stem.isdigit()}

    def chunk(self, chunk: int) -> list[Picture]:
        planned = self._table(f"plan/{chunk:08d}.parquet")
        # Plans of earlier versions have paths as texts.
        return [
            Picture(row["id"], os.fsdecode(row["path"]), row["at"], row["length"], row["error"], number)
            for number, row in enumerate(planned)
        ]

    def rows(self, chunk: int, columns: list[str] | None = None) -> list[Row]:
        """The rows of a chunk, empty before they are written; `columns` reads only these."""
        return self._table(rows_name(chunk), columns)

    def write_rows(self, chunk: int, rows: Sequence[Row], about: dict[str, Any]) -> None:
        """Write the rows of a chunk, with `about` as JSON in the metadata key `lexiseg`."""
        schema = ROWS.with_metadata({"lexiseg": json.dumps(about)})
        self.write_table(rows_name(chunk), pyarrow.Table.from_pylist(list(rows), schema))

    def write_table(self, name: str, table: pyarrow.Table) -> None:
        content = io.BytesIO()
        pyarrow.parquet.write_table(table, content, compression="zstd")
        self.write(name, content.getvalue())

    def _table(self, name: str, columns: list[str] | None = None) -> list[Row]:
        content = self.read(name)
        if content is None:
            return []
        with open_parquet(content) as table:
            return list(table.read(columns, use_threads=False).to_pylist())

    def _names(self, folder: str) -> list[str]:
        try:
            paths = self._store.ls(f"{self._root}/{folder}", detail=False, refresh=True)
        except FileNotFoundError:
            return []
        return sorted(path.rpartition("/")[2] for path in paths)


def rows_name(chunk: int) -> str:
    return f"rows/{chunk:08d}.parquet"


def planned_size(identity: Mapping[str, Any], destination: Destination) -> Size | None:
    """The size of the plan in the destination; None before there is one."""
    content = destination.read(RECORD)
    if content is None:
        return None
    try:
        record = json.loads(content)
        planned, size = record["asked"], Size(record["inputs"], record["chunks"])
    except (ValueError, KeyError, TypeError):
        raise OptionError(
            f"{destination.url}/{RECORD} is not a record of `lexiseg bulk`; name another folder"
        ) from None
    plain = json.loads(json.dumps(identity))
    others = sorted(key for key in planned.keys() | plain.keys() if planned.get(key) != plain.get(key))
    if others:
        raise OptionError(
            f"{destination.url} holds answers of another job ({', '.join(others)} differ); name another folder"
        )
    return size


def write_plan(
    identity: Mapping[str, Any], destination: Destination, pictures: Iterable[Picture], rows_per_file: int
) -> Size:
    stream, hashes, chunks = iter(pictures), array("Q"), 0  # 8 bytes an input
    while batch := list(itertools.islice(stream, rows_per_file)):
        hashes.extend(_hash(picture.name) for picture in batch)
        destination.write_table(f"plan/{chunks:08d}.parquet", pyarrow.Table.from_pylist(list(map(_planned, batch))))
        chunks += 1
    if not hashes:
        raise DatasetError(f"{identity['source']['url']} holds no pictures")
    _refuse_repeated_ids(destination, hashes, chunks)
    size = Size(len(hashes), chunks)
    content = {"asked": identity, **size._asdict()}
    destination.write(RECORD, to_utf8(json.dumps(content, indent=1, ensure_ascii=False)))
    return size


def _planned(picture: Picture) -> dict[str, Any]:
    """The row of an input in the plan: its path in bytes, as a name may be of any."""
    return {
        "id": picture.name,
        "path": os.fsencode(picture.place),
        "at": picture.at,
        "length": picture.length,
        "error": picture.problem and as_text(picture.problem),
    }


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def _refuse_repeated_ids(destination: Destination, hashes: array[int], chunks: int) -> None:
    ordered = np.sort(np.frombuffer(hashes, np.uint64))
    suspects = set(ordered[1:][ordered[1:] == ordered[:-1]].tolist())
    names: set[str] = set()
    for chunk in range(chunks if suspects else 0):
        for item in destination.chunk(chunk):
            if item.name in names:
                raise DatasetError(
                    f"the id {item.name!r:.200} comes twice; every input needs its own: name a column with "
                    "--id-column, or take the row out"
                )
            if _hash(item.name) in suspects:
                names.add(item.name)


class Chunk:
    """As `Part`: the rows of one chunk, committed at its end as one file."""

    is_due = False

    def __init__(
        self, destination: Destination, chunk: int, columns: Row, about: dict[str, Any], *, retry_failed: bool
    ) -> None:
        self._destination = destination
        self._chunk = chunk
        self._columns = columns
        self._about = about
        self._planned = destination.chunk(chunk)
        before = destination.rows(chunk)
        rows = (row for row in before if row["status"] == OK or not retry_failed)
        self._rows: dict[str, Row] = {row["id"]: row for row in rows}
        self.pictures = [picture for picture in self._planned if picture.name not in self._rows]  # without a row
        self.is_empty = not self.pictures and len(before) == len(self._planned)

    @property
    def rows(self) -> list[Row]:
        """The rows in the order of the plan."""
        return [self._rows[picture.name] for picture in self._planned]

    def add(self, picture: Picture, line: Line) -> None:
        self._rows[picture.name] = row_of_line(line) | self._columns
        self.is_empty = False

    async def commit(self) -> bool:
        """As `Part.commit`. Raises OSError: the rows cannot be written."""
        await asyncio.to_thread(self._destination.write_rows, self._chunk, self.rows, self._about)
        self.is_empty = True
        return True


def count_rows(destination: Destination, size: Size) -> tuple[int, int]:
    """Compare the rows of a finished job with its plan; return the numbers of rows and of failures."""
    unplanned = destination.complete_chunks() - set(range(size.chunks))
    if unplanned:
        name = rows_name(min(unplanned))
        raise DatasetError(f"{destination.url}/{name} belongs to no chunk of the plan; expected {size.chunks:,} chunks")
    rows = failures = 0
    missing, repeated, digests = Counter[str](), Counter[str](), set[str]()

    def of_chunk(chunk: int) -> tuple[Counter[str], list[Row]]:
        inputs = Counter(item.name for item in destination.chunk(chunk))
        return inputs, destination.rows(chunk, ["id", "status", "model_digest"])

    for inputs, chunk_rows in map_threads(of_chunk, range(size.chunks), COUNTING_THREADS):
        ids = Counter(row["id"] for row in chunk_rows)
        missing += inputs - ids
        repeated += ids - inputs
        rows += len(chunk_rows)
        failures += sum(row["status"] == FAILED for row in chunk_rows)
        digests.update(row["model_digest"] for row in chunk_rows)
    findings = {"without a row": missing, "more than once": repeated}
    wrong = [f"{what}: {', '.join(sorted(ids)[:MAX_IDS_IN_MESSAGE])}" for what, ids in findings.items() if ids]
    if wrong or rows != size.inputs:
        raise DatasetError(f"{rows:,} rows of {size.inputs:,} inputs; {'; '.join(wrong)}")
    if len(digests) != 1:
        raise DatasetError(f"rows of different models: {', '.join(sorted(digests))}")
    return rows, failures
