"""A job of `lexiseg bulk`: its inputs, written down once in chunks, and its rows, one file for each chunk.

    DST/bulk.json                 the question, the source, and how many inputs and chunks; written last
    DST/plan/00000000.parquet     the inputs of chunk 0
    DST/rows/00000000.parquet     its answers, in the order of the plan; whole or not there

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
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow
import pyarrow.parquet

from lexiseg_client import Segment
from lexiseg_client.segments import RunLengths
from lexiseg_model.catalogue.store import UNFINISHED, reached, write_whole
from lexiseg_model.errors import DatasetError, OptionError
from lexiseg_model.types import Vocabulary
from lexiseg_service.commands.bulk.sources import Item, Source, open_parquet
from lexiseg_service.commands.question import Question
from lexiseg_service.question.messages import WorkerAnswer
from lexiseg_service.settings import Settings

RECORD = "bulk.json"
COUNTING_THREADS = 8
SHOWN = 5  # ids in a message
OK, FAILED = "ok", "failed"
SEGMENT = pyarrow.struct(
    [
        ("label", pyarrow.string()),
        ("class_index", pyarrow.int32()),
        ("score", pyarrow.float32()),
        ("area", pyarrow.int64()),
        ("bbox", pyarrow.list_(pyarrow.int32())),  # x, y, width, height
        ("is_thing", pyarrow.bool_()),
        ("rle", pyarrow.struct([("size", pyarrow.list_(pyarrow.int32())), ("counts", pyarrow.string())])),
    ]
)
ROWS = pyarrow.schema(
    [
        ("id", pyarrow.string()),
        ("size", pyarrow.list_(pyarrow.int32())),  # height, width
        ("model_digest", pyarrow.string()),
        ("vocabulary_digest", pyarrow.string()),
        ("status", pyarrow.string()),
        ("error", pyarrow.string()),
        ("segments", pyarrow.list_(SEGMENT)),
    ]
)
Row = dict[str, Any]


def row_of(id_: str, outcome: WorkerAnswer | str, model_digest: str, vocabulary_digest: str) -> Row:
    """The row of an input: its answer, or the reason why there is none."""
    digests = {"model_digest": model_digest, "vocabulary_digest": vocabulary_digest}
    if isinstance(outcome, str):
        return {"id": id_, "size": None, **digests, "status": FAILED, "error": outcome, "segments": None}
    segments = [
        {
            "label": segment.label,
            "class_index": segment.class_index,
            "score": segment.score,
            "area": segment.area,
            "bbox": list(segment.bbox),
            "is_thing": segment.is_thing,
            "rle": {"size": list(segment.mask.size), "counts": segment.mask.counts},
        }
        for segment in outcome.segments
    ]
    return {"id": id_, "size": list(outcome.size), **digests, "status": OK, "error": None, "segments": segments}


def segments_of(row: Row) -> list[Segment]:
    """The segments of a row as the client's, for its formats."""
    return [
        Segment(
            id=number,
            label=segment["label"],
            class_index=segment["class_index"],
            score=segment["score"],
            area=segment["area"],
            bbox=tuple(segment["bbox"]),
            shape=RunLengths(tuple(segment["rle"]["size"]), segment["rle"]["counts"]),
            is_thing=segment["is_thing"],
        )
        for number, segment in enumerate(row["segments"] or (), 1)
    ]


def encode(table: pyarrow.Table) -> bytes:
    """A parquet file."""
    content = io.BytesIO()
    pyarrow.parquet.write_table(table, content, compression="zstd")
    return content.getvalue()


def decode(content: Any, columns: list[str] | None = None) -> list[Row]:
    """The rows of a file, or some of their columns."""
    with open_parquet(content) as table:
        return list(table.read(columns, use_threads=False).to_pylist())


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
        """Question, model and source: jobs that differ in any of them have different answers."""
        return {
            **self.question.fields,
            "classes": [entry.name for entry in self.vocabulary.classes],
            "vocabulary_digest": self.vocabulary_digest,
            "model": self.model,
            "source": self.source._asdict(),
        }


class Size(NamedTuple):
    """The size of a plan."""

    inputs: int
    chunks: int


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
        """Open a file of the folder; writing makes the folders above it."""
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
        return [Item(**row) for row in decode(self.read(f"plan/{chunk:08d}.parquet"))]

    def rows(self, chunk: int, columns: list[str] | None = None) -> list[Row]:
        """The rows of a chunk, or some of their columns; none where they are not there yet."""
        content = self.read(rows_name(chunk))
        return [] if content is None else decode(content, columns)

    def write_rows(self, chunk: int, rows: Sequence[Row], about: dict[str, Any]) -> None:
        """Write the rows of a chunk; `about` stands in their metadata under `lexiseg`."""
        schema = ROWS.with_metadata({"lexiseg": json.dumps(about)})
        self.write(rows_name(chunk), encode(pyarrow.Table.from_pylist(list(rows), schema)))

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
    """Write the plan, chunk by chunk, and at the end its record.

    Raises:
        DatasetError: there is no input, or an id comes twice.
    """
    stream, hashes, chunks = iter(items), array("Q"), 0  # 8 bytes an input
    while some := list(itertools.islice(stream, rows_per_file)):
        hashes.extend(_hash(item.id) for item in some)
        table = pyarrow.Table.from_pylist([item._asdict() for item in some])
        destination.write(f"plan/{chunks:08d}.parquet", encode(table))
        chunks += 1
    if not hashes:
        raise DatasetError("no picture is there")
    _refuse_twice(destination, hashes, chunks)
    size = Size(len(hashes), chunks)
    content = {"asked": job.asked, **size._asdict()}
    destination.write(RECORD, json.dumps(content, indent=1, ensure_ascii=False).encode())
    return size


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


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


def count_rows(destination: Destination, size: Size) -> tuple[int, int]:
    """Compare the rows of a finished job with its plan; the numbers of rows and of failures.

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

    def of_chunk(chunk: int) -> tuple[set[str], list[Row]]:
        found = destination.rows(chunk, ["id", "status", "model_digest"])
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
    return rows, failures
