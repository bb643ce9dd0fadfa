"""Answers about frames as lines of JSON, under the names of the REST answer."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import orjson

from lexiseg_client import FrameAnswer, Segment
from lexiseg_client.segments import segment_json


class JsonLines:
    """One line a frame, into a file or to the standard output (`-`); use it as a context manager.

    Raises:
        OSError: the file cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self._is_file = str(path) != "-"
        self._empty = path if self._is_file and not path.exists() else None  # a file that was made here
        self._file: BinaryIO = path.open("wb") if self._is_file else sys.stdout.buffer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if not self._is_file:
            self._file.flush()
            return
        self._file.close()
        if error is not None and self._empty is not None:
            self._empty.unlink(missing_ok=True)

    def write(self, answer: FrameAnswer, seconds: float) -> None:
        """The line of one frame, shown from `seconds` on."""
        self._empty = None
        found, failure = answer.answer, answer.error
        line = {
            "frame": int(answer.frame_id),
            "seconds": round(seconds, 6),
            "size": found and found.size,
            "segments": found and [_segment(segment) for segment in found],
            "dropped": answer.dropped,
            "error": failure and {"type": failure.type, "detail": failure.problem.detail},
            "state_reset": answer.state_reset,
            "lost": answer.lost,
            "timings_ms": found and asdict(found.timings_ms),
        }
        self._file.write(orjson.dumps(line) + b"\n")


def _segment(segment: Segment) -> dict[str, Any]:
    names = ("id", "label", "class_index", "score", "area", "bbox", "is_thing", "track_id", "mask")
    content = segment_json(segment)
    return {name: content[name] for name in names} | {"score": round(segment.score, 4)}
