"""The columns of results as parquet, of jobs and of `lexiseg bulk`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow

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


def row_of_line(line: Mapping[str, Any]) -> Row:
    """The row of a line of results. Columns that are left out are null."""
    if (answer := line["answer"]) is None:
        problem = line["problem"]
        return {"id": line["image"], "status": FAILED, "error": f"{problem['type']}: {problem['detail']}"}
    segments = [
        {name: segment[name] for name in PLAIN}
        | {"rle": {"size": segment["mask"]["size"], "counts": segment["mask"]["counts"]}}
        for segment in answer["segments"]
    ]
    return {
        "id": line["image"],
        "status": OK,
        "size": answer["size"],
        "model_digest": answer["model_digest"],
        "segments": segments,
    }
