"""Pictures of a data set kept as lines of JSON, so that they can be iterated again without being held."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from lexiseg_labels.data_set import Picture
from lexiseg_labels.json_text import json_text
from lexiseg_labels.segments import read_size, run_lengths, segment_json, segment_of

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


def line_of(picture: Picture) -> bytes:
    """A row as a line."""
    return f"{json_text(row_of(picture))}\n".encode()


def picture_of_line(line: bytes) -> Picture:
    """A picture from `line_of`; errors as of `picture_of`."""
    return picture_of(json.loads(line))
