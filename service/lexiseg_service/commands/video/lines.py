"""Answers about frames as lines of JSON, under the names of the REST answer."""

from __future__ import annotations

import sys
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import orjson

from lexiseg_model.types import Segment
from lexiseg_service.question.messages import FrameAnswer


class JsonLines:
    """One line a frame, into a file or to the standard output (`-`); use it as a context manager.

    Raises:
        OSError: the file cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self._own = str(path) != "-"
        self._unwritten = path if self._own and not path.exists() else None  # a file that we made, still empty
        self._file: BinaryIO = path.open("wb") if self._own else sys.stdout.buffer

    def __enter__(self) -> JsonLines:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._own:
            self._file.close()
            if error is not None and self._unwritten is not None:
                self._unwritten.unlink(missing_ok=True)
        else:
            self._file.flush()

    def write(self, answer: FrameAnswer, seconds: float) -> None:
        """The line of one frame."""
        self._unwritten = None
        self._file.write(orjson.dumps(_line(answer, seconds)) + b"\n")


def _line(answer: FrameAnswer, seconds: float) -> dict[str, Any]:
    segmentation, failure = answer.answer, answer.error
    numbers = answer.track_ids or (None,) * len(segmentation.segments if segmentation else ())
    return {
        "frame": int(answer.frame_id),
        "seconds": round(seconds, 6),
        "size": segmentation and segmentation.size,
        "segments": segmentation and [_segment(*pair) for pair in zip(segmentation.segments, numbers, strict=True)],
        "dropped": answer.dropped,
        "error": failure and {"type": failure.type, "detail": failure.detail},
        "state_reset": answer.state_reset,
        "lost": answer.lost,
        "timings_ms": segmentation and segmentation.timings,
    }


def _segment(segment: Segment, number: int | None) -> dict[str, Any]:
    return {
        "id": segment.id,
        "label": segment.label,
        "class_index": segment.class_index,
        "score": round(segment.score, 4),
        "area": segment.area,
        "bbox": segment.bbox,
        "is_thing": segment.is_thing,
        "track_id": number,
        "mask": {"format": "coco_rle", "size": segment.mask.size, "counts": segment.mask.counts},
    }
