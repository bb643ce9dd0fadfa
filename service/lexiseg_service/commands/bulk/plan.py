"""A job, and its inputs written down once: chunks of them, each of which becomes one file of rows.

    DST/bulk.json                 the question, the source, and how many inputs and chunks; written last
    DST/plan/00000.parquet        the inputs, a row group for each chunk
    DST/rows/00000000.parquet     the answers of chunk 0, in the order of the plan; whole or not there

The files of rows tell what is done. So a job goes on without any memory of the process that was killed, and a chunk
that two workers did is one file.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import json
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow
import pyarrow.parquet

from lexiseg_model.catalogue.store import UNFINISHED, reached, write_whole
from lexiseg_model.errors import DatasetError, OptionError
from lexiseg_model.types import Vocabulary
from lexiseg_service.commands.bulk.rows import FAILED, decode, open_parquet
from lexiseg_service.commands.bulk.sources import Item, Source
from lexiseg_service.commands.question import Question
from lexiseg_service.settings import Settings

RECORD = "bulk.json"
BATCH = 32  # tiles in one image pass by default: what a GPU needs to be busy
CHUNKS_OF_A_FILE = 64  # of a plan: to read one chunk is to read the places of so many
COUNTING_THREADS = 8
SHOWN = 5  # ids in a message
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
class Job:
    """Pictures, a question, and where the answers go. Pickled for other processes."""

    source: Source
    destination: str
    question: Question
    vocabulary: Vocabulary
    settings: Settings
    model: str  # NAME@VERSION
    model_digest: str | None = None  # of rows that are there already
    retry_failed: bool = False  # rows of failures are done again
    gpu_share: float = 0.0  # of one GPU, that each actor may fill

    @property
    def vocabulary_digest(self) -> str:
        """SHA-256 of the classes, their synonyms and thresholds, and the background rule; not of the list's name."""
        content = {**asdict(self.vocabulary), "name": None}
        return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode()).hexdigest()

    @property
    def asked(self) -> dict[str, Any]:
        """Everything that decides what the answers are."""
        return {
            **self.question.fields,
            "classes": [entry.name for entry in self.vocabulary.classes],
            "vocabulary_digest": self.vocabulary_digest,
            "model": self.model,
            "source": self.source._asdict(),
        }


def batch_settings(settings: Settings) -> Settings:
    """Settings for many pictures at once: batches of a size for GPUs, a queue that holds two of them, no cache."""
    batch = settings.max_batch if "max_batch" in settings.model_fields_set else BATCH
    return settings.model_copy(
        update={"max_batch": batch, "queue_limit": max(settings.queue_limit, 4 * batch), "feature_cache_bytes": 0}
    )


class Size(NamedTuple):
    """The size of a plan."""

    inputs: int
    chunks: int


class Count(NamedTuple):
    """The rows of a finished job."""

    rows: int
    failures: int


class Destination:
    """The folder of a job, here or in a store.

    Raises:
        OptionError: the address cannot be reached, or there are no credentials.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._store, self._root = reached(url)

    def read(self, name: str) -> bytes | None:
        """A file's content; None where there is none."""
        try:
            return bytes(self._store.cat_file(f"{self._root}/{name}"))
        except FileNotFoundError:
            return None

    def write(self, name: str, content: bytes) -> None:
        """Write a file, whole or not at all."""
        write_whole(self._store, f"{self._root}/{name}", content)

    def open(self, name: str, mode: str = "rb") -> Any:
        """A file of the folder, which is made if need be."""
        if mode != "rb":
            self._store.makedirs(f"{self._root}/{name}".rpartition("/")[0], exist_ok=True)
        return self._store.open(f"{self._root}/{name}", mode)

    def remove_unfinished(self) -> None:
        """Remove files that a killed process left half written."""
        for name in self._names("rows"):
            if name.endswith(UNFINISHED):
                self._store.rm_file(f"{self._root}/rows/{name}")

    def done(self) -> set[int]:
        """The chunks whose rows are there."""
        names = (name.partition(".") for name in self._names("rows"))
        return {int(stem) for stem, _, suffix in names if suffix == "parquet" and stem.isdigit()}

    def chunk(self, chunk: int) -> list[Item]:
        """The inputs of a chunk."""
        with (
            self.open(f"plan/{chunk // CHUNKS_OF_A_FILE:05d}.parquet") as content,
            open_parquet(content) as table,
        ):
            rows = table.read_row_group(chunk % CHUNKS_OF_A_FILE, use_threads=False)
            return [Item(**row) for row in rows.to_pylist()]

    def column(self, chunk: int, name: str) -> list[Any]:
        """One column of a chunk's rows."""
        with self.open(rows_name(chunk)) as content:
            return [row[name] for row in decode(content, [name])]

    def _names(self, folder: str) -> list[str]:
        try:
            paths = self._store.ls(f"{self._root}/{folder}", detail=False, refresh=True)
        except FileNotFoundError:
            return []
        return sorted(path.rpartition("/")[2] for path in paths)


def rows_name(chunk: int) -> str:
    """The name of the file with a chunk's rows."""
    return f"rows/{chunk:08d}.parquet"


def planned(job: Job, destination: Destination) -> Size | None:
    """The size of the plan in the destination; None where there is none yet.

    Raises:
        OptionError: it is of another job.
    """
    content = destination.read(RECORD)
    if content is None:
        return None
    try:
        record = json.loads(content)
        asked, size = record["asked"], Size(record["inputs"], record["chunks"])
    except (ValueError, KeyError, TypeError):
        raise OptionError(f"{job.destination}/{RECORD} is not of this command; name another folder") from None
    own = json.loads(json.dumps(job.asked))
    others = sorted(key for key in asked.keys() | own.keys() if asked.get(key) != own.get(key))
    if others:
        raise OptionError(
            f"{job.destination} holds answers of another job ({', '.join(others)} differ); name another folder"
        )
    return size


def write_plan(job: Job, destination: Destination, items: Iterable[Item], rows_per_file: int) -> Size:
    """Write the plan, file by file, and at the end its record.

    Raises:
        DatasetError: there is no input, or an id comes twice.
    """
    hashes = array("Q")  # 8 bytes an input

    def hashed() -> Iterator[Item]:
        for item in items:
            hashes.append(_hash(item.id))
            yield item

    stream, chunks = hashed(), 0
    for number in itertools.count():
        written = _write_file(destination, number, stream, rows_per_file)
        chunks += written
        if written < CHUNKS_OF_A_FILE:
            break
    if not hashes:
        raise DatasetError("no picture is there")
    _refuse_twice(destination, hashes, chunks)
    size = Size(len(hashes), chunks)
    content = {"asked": job.asked, "inputs": size.inputs, "chunks": size.chunks}
    destination.write(RECORD, json.dumps(content, indent=1, ensure_ascii=False).encode())
    return size


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def _write_file(destination: Destination, number: int, stream: Iterator[Item], rows_per_file: int) -> int:
    """The number of chunks that were written; fewer than fit are the last."""
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


def _refuse_twice(destination: Destination, hashes: array[int], chunks: int) -> None:
    ordered = np.sort(np.frombuffer(hashes, np.uint64))
    suspects = set(ordered[1:][ordered[1:] == ordered[:-1]].tolist())
    known: set[str] = set()
    for chunk in range(chunks if suspects else 0):
        for item in destination.chunk(chunk):
            if item.id in known:
                raise DatasetError(
                    f"the id {item.id!r:.200} comes twice; every input needs its own: name a column with --id-column, "
                    "or take the row out"
                )
            if _hash(item.id) in suspects:
                known.add(item.id)


def count_rows(destination: Destination, size: Size) -> Count:
    """Compare the rows of a finished job with its plan.

    Raises:
        DatasetError: an input has no row or more than one, or there are rows of different models.
    """
    strangers = destination.done() - set(range(size.chunks))
    if strangers:
        raise DatasetError(f"{destination.url}/{rows_name(min(strangers))} is of no chunk of the plan")
    rows = failures = 0
    lost: list[str] = []
    twice: list[str] = []
    digests: set[str] = set()

    def of_chunk(chunk: int) -> tuple[set[str], list[dict[str, Any]]]:
        content = destination.read(rows_name(chunk))
        found = [] if content is None else decode(content, ["id", "status", "model_digest"])
        return {item.id for item in destination.chunk(chunk)}, found

    with ThreadPoolExecutor(COUNTING_THREADS) as threads:
        for inputs, found in threads.map(of_chunk, range(size.chunks)):
            ids = Counter(row["id"] for row in found)
            rows += len(found)
            failures += sum(row["status"] == FAILED for row in found)
            lost += sorted(inputs - ids.keys())[: SHOWN - len(lost)]
            twice += sorted(id_ for id_, n in ids.items() if n > 1 or id_ not in inputs)[: SHOWN - len(twice)]
            digests.update(row["model_digest"] for row in found)
    if lost or twice or rows != size.inputs:
        wrong = [f"without a row: {', '.join(lost)}"] if lost else []
        wrong += [f"more than once: {', '.join(twice)}"] if twice else []
        raise DatasetError(f"{rows:,} rows of {size.inputs:,} inputs; {'; '.join(wrong)}")
    if len(digests) != 1:
        raise DatasetError(f"rows of different models: {', '.join(sorted(digests))}")
    return Count(rows, failures)
