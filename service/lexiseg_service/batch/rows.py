"""The columns of results as parquet, of jobs and of `lexiseg bulk`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import pyarrow
import pyarrow.parquet

from lexiseg_labels.json_text import SCORE_DECIMALS
from lexiseg_labels.segments import Segment, segment_of
from lexiseg_model.files.names import as_text

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
PLAIN = [column.name for column in SEGMENT if column.name != "rle"]
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


class RowAnswer(NamedTuple):
    """The answer of a row, as `lexiseg_labels.segments.Answer`."""

    id: str
    model: str
    model_digest: str
    size: tuple[int, int]
    segments: tuple[Segment, ...]


def answer_of(row: Row, model: str) -> RowAnswer:
    """The answer of a row, for the writers of data sets; `model` is NAME or NAME@VERSION."""
    size = (row["size"][0], row["size"][1])
    segments = []
    for number, each in enumerate(row["segments"] or (), 1):
        # The column's 32 bits hold 0.9996 as 0.9995999932: a format that does not round would tell the doors apart.
        score = round(each["score"], SCORE_DECIMALS)
        entry = {"id": number, "mask": {"format": "coco_rle", **each["rle"]}, **each, "score": score}
        segments.append(segment_of(entry, size, None))
    return RowAnswer(row["id"], model.partition("@")[0], row["model_digest"], size, tuple(segments))


def row_of_line(line: Mapping[str, Any]) -> Row:
    """The row of a line of results. Columns that are left out are null."""
    if (answer := line["answer"]) is None:
        problem = line["problem"]
        return {"id": line["image"], "status": FAILED, "error": as_text(f"{problem['type']}: {problem['detail']}")}
    segments = [
        {name: segment[name] for name in PLAIN}
        | {"rle": {"size": segment["mask"]["size"], "counts": segment["mask"]["counts"]}}
        for segment in answer["segments"]
        if not segment.get("doubtful")
    ]
    return {
        "id": line["image"],
        "status": OK,
        "size": answer["size"],
        "model_digest": answer["model_digest"],
        "segments": segments,
    }


def open_parquet(content: Any) -> Any:
    """Open parquet from bytes or an open file. Read from it with `use_threads=False` only.

    An Arrow thread that reads a Python file while the interpreter exits aborts the process (apache/arrow 34314).
    """
    source = pyarrow.BufferReader(content) if isinstance(content, bytes) else content
    return pyarrow.parquet.ParquetFile(source, pre_buffer=False)
