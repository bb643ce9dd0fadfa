"""Parquet of `lexiseg bulk`: one row for each input, and how files are opened."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from typing import Any

import pyarrow
import pyarrow.parquet

from lexiseg_client import Segment
from lexiseg_client.segments import RunLengths
from lexiseg_service.question.messages import WorkerAnswer

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


def encode(rows: Sequence[Row], about: dict[str, Any]) -> bytes:
    """A parquet file of rows; `about` stands in its metadata under `lexiseg`."""
    content = io.BytesIO()
    table = pyarrow.Table.from_pylist(list(rows), ROWS.with_metadata({"lexiseg": json.dumps(about)}))
    pyarrow.parquet.write_table(table, content, compression="zstd")
    return content.getvalue()


def decode(content: Any, columns: list[str] | None = None) -> list[Row]:
    """The rows of a file, or some of their columns."""
    with open_parquet(content) as table:
        return list(table.read(columns, use_threads=False).to_pylist())


def open_parquet(content: Any) -> Any:
    """A parquet file of bytes or of an open file. Its reads must say `use_threads=False`.

    A thread of Arrow that reads a Python file while the interpreter exits aborts the process (apache/arrow 34314).

    Raises:
        pyarrow.ArrowException: it is not parquet.
    """
    source = pyarrow.BufferReader(content) if isinstance(content, bytes) else content
    return pyarrow.parquet.ParquetFile(source, pre_buffer=False)
