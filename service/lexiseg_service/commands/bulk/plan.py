"""Which inputs a job has, written down once: chunks of them, each of which becomes one file of rows.

    DST/bulk.json                 what is asked of which source, and how many inputs and chunks; written last
    DST/plan/00000.parquet        the inputs, a row group for each chunk
    DST/rows/00000000.parquet     the answers of chunk 0, in the order of the plan; there as a whole or not at all

What is done is known by the files of rows, so whoever goes on needs no memory of whoever was killed, and a chunk that
two workers did is one file.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pyarrow
import pyarrow.parquet

from lexiseg_model.catalogue.store import UNFINISHED, reached, write_whole
from lexiseg_model.errors import DatasetError
from lexiseg_service.commands.bulk.digests import Digests, repeated, short_digest
from lexiseg_service.commands.bulk.sources import Item
from lexiseg_service.commands.bulk.tables import Table

CHUNKS_OF_A_FILE = 64  # of a plan: who looks for one chunk reads the places of so many
INPUTS = pyarrow.schema(
    [
        ("id", pyarrow.string()),
        ("path", pyarrow.string()),
        ("at", pyarrow.int64()),
        ("length", pyarrow.int64()),
        ("error", pyarrow.string()),
    ]
)


@dataclass(frozen=True)
class Size:
    """Of a plan."""

    inputs: int
    chunks: int


class Destination:
    """The folder of a job, here or in a store."""

    def __init__(self, url: str) -> None:
        """
        Raises:
            OptionError: nothing reaches it, here or without credentials.
        """
        self.url = url
        self._store, self._root = reached(url)

    def read(self, name: str) -> bytes | None:
        """A file's content; None where there is none."""
        try:
            return bytes(self._store.cat_file(f"{self._root}/{name}"))
        except FileNotFoundError:
            return None

    def write(self, name: str, content: bytes) -> None:
        """As a whole, or not at all."""
        write_whole(self._store, f"{self._root}/{name}", content)

    def open(self, name: str, mode: str = "rb") -> Any:
        """A file of it; the folder is made if need be."""
        if mode != "rb":
            self._store.makedirs(f"{self._root}/{name}".rpartition("/")[0], exist_ok=True)
        return self._store.open(f"{self._root}/{name}", mode)

    def names(self, folder: str) -> list[str]:
        """What lies in a folder of it; nothing where there is none."""
        try:
            return sorted(
                path.rpartition("/")[2] for path in self._store.ls(f"{self._root}/{folder}", detail=False, refresh=True)
            )
        except FileNotFoundError:
            return []

    def sweep(self) -> None:
        """Takes away what was not whole when whoever wrote it was killed."""
        for name in self.names("rows"):
            if name.endswith(UNFINISHED):
                self._store.rm_file(f"{self._root}/rows/{name}")

    def done(self) -> set[int]:
        """The chunks whose rows are there."""
        names = (name.partition(".") for name in self.names("rows"))
        return {int(stem) for stem, _, suffix in names if suffix == "parquet" and stem.isdigit()}

    def chunk(self, chunk: int) -> list[Item]:
        """The inputs of one."""
        with self.open(f"plan/{chunk // CHUNKS_OF_A_FILE:05d}.parquet") as content, Table(content) as table:
            return [Item(**row) for row in table.group(chunk % CHUNKS_OF_A_FILE)]


def rows_name(chunk: int) -> str:
    """Of the file with a chunk's rows."""
    return f"rows/{chunk:08d}.parquet"


def write_plan(destination: Destination, items: Iterable[Item], rows_per_file: int) -> Size:
    """Writes the plan, file by file; of each id a digest is kept on disk, to see that none comes twice.

    Raises:
        DatasetError: there is no input, or an id comes twice.
    """
    with closing(Digests()) as digests:
        stream = _seen(items, digests)
        chunks = 0
        for number in itertools.count():
            written = _write_file(destination, number, stream, rows_per_file)
            chunks += written
            if written < CHUNKS_OF_A_FILE:
                break
        if not digests:
            raise DatasetError("no picture is there")
        _refuse_twice(destination, digests, chunks)
        return Size(len(digests), chunks)


def _seen(items: Iterable[Item], digests: Digests) -> Iterator[Item]:
    for item in items:
        digests.add(item.id)
        yield item


def _write_file(destination: Destination, number: int, stream: Iterator[Item], rows_per_file: int) -> int:
    """Chunks that were written; fewer than fit are the last."""
    content, written = io.BytesIO(), 0
    with pyarrow.parquet.ParquetWriter(content, INPUTS, compression="zstd") as writer:
        while written < CHUNKS_OF_A_FILE:
            rows = [item._asdict() for item in itertools.islice(stream, rows_per_file)]
            if not rows:
                break
            writer.write_table(pyarrow.Table.from_pylist(rows, INPUTS), row_group_size=rows_per_file)
            written += 1
    if written:
        destination.write(f"plan/{number:05d}.parquet", content.getvalue())
    return written


def _refuse_twice(destination: Destination, digests: Digests, chunks: int) -> None:
    suspects = set(repeated(digests.ordered()).tolist())
    if not suspects:
        return
    known: set[str] = set()
    for chunk in range(chunks):
        for item in destination.chunk(chunk):
            if item.id in known:
                raise DatasetError(
                    f"the id {item.id!r:.200} comes twice; every input needs its own: name a column with --id-column, "
                    "or take the row out"
                )
            if short_digest(item.id) in suspects:
                known.add(item.id)
