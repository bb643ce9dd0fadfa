"""One row for each input: what stands in the parquet files."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from typing import Any

import pyarrow
import pyarrow.parquet

from lexiseg_model.types import Segment
from lexiseg_service.commands.bulk.tables import Table
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


def answered(id_: str, answer: WorkerAnswer, vocabulary_digest: str) -> Row:
    """The row of an input with an answer."""
    return {
        "id": id_,
        "size": list(answer.size),
        "model_digest": answer.model_digest,
        "vocabulary_digest": vocabulary_digest,
        "status": OK,
        "error": None,
        "segments": [_segment(segment) for segment in answer.segments],
    }


def failed(id_: str, reason: str, model_digest: str, vocabulary_digest: str) -> Row:
    """The row of an input that has none."""
    return {
        "id": id_,
        "size": None,
        "model_digest": model_digest,
        "vocabulary_digest": vocabulary_digest,
        "status": FAILED,
        "error": reason,
        "segments": None,
    }


def encode(rows: Sequence[Row], about: dict[str, Any]) -> bytes:
    """A parquet file of rows; `about` stands in its metadata under `lexiseg`."""
    content = io.BytesIO()
    table = pyarrow.Table.from_pylist(list(rows), ROWS.with_metadata({"lexiseg": json.dumps(about)}))
    pyarrow.parquet.write_table(table, content, compression="zstd")
    return content.getvalue()


def decode(content: bytes, columns: list[str] | None = None) -> list[Row]:
    """The rows of a file, or some of their columns."""
    return list(Table(content).read(columns).to_pylist())


def _segment(segment: Segment) -> dict[str, Any]:
    return {
        "label": segment.label,
        "class_index": segment.class_index,
        "score": segment.score,
        "area": segment.area,
        "bbox": list(segment.bbox),
        "is_thing": segment.is_thing,
        "rle": {"size": list(segment.mask.size), "counts": segment.mask.counts},
    }
