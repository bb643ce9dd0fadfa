"""Objects of a video over its frames: what formats with tracks write, and the shapes in a frame between keyframes."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np

from lexiseg_labels.formats.marks import BETWEEN, BOXES
from lexiseg_labels.masks.outlines import Size
from lexiseg_labels.segments import UNNAMED, Answer, Segment, exportable

Raw = TypeVar("Raw")


@dataclass
class Clip:
    """A video and the segments of its tracks, by track and label, then by frame, from 0."""

    name: str  # of the video's file
    rate: float  # frames a second
    size: tuple[int, int] = (0, 0)  # height, width
    n_frames: int = 0
    tracks: dict[tuple[int, str], dict[int, Segment]] = field(default_factory=dict)

    def add(self, frame: int, answer: Answer) -> None:
        """Add the answer about a frame, a later one than before; segments without a track are left out."""
        self.size, self.n_frames = answer.size, frame + 1
        for segment in exportable(answer.segments):
            if segment.track_id is not None:
                self.tracks.setdefault((segment.track_id, segment.label or UNNAMED), {})[frame] = segment


class Keyframe(NamedTuple, Generic[Raw]):
    """An object in a frame as a file has it; whether it is seen there, and from there on."""

    frame: int
    raw: Raw
    is_seen: bool
    goes_on: bool


def shapes_in(
    tracks: Iterable[Sequence[Keyframe[Raw]]], frame: int, read: Callable[[Raw, Size], dict[str, Any]], size: Size
) -> list[dict[str, Any]]:
    """The shapes of a frame [H, W], as `marks` has them: between keyframes boxes move, of others the place is known.

    `tracks` are the keyframes of each object by rising frame, `read` gives the shape of one.
    """
    shapes = []
    for keyframes in tracks:
        place = bisect_right(keyframes, frame, key=lambda each: each.frame) - 1
        before = keyframes[place]
        if place < 0 or not (before.is_seen if before.frame == frame else before.goes_on):
            continue
        after = keyframes[min(place + 1, len(keyframes) - 1)]
        shape = read(before.raw, size)
        if before.frame < frame and after.frame > frame and after.is_seen:
            shape = _between(shape, read(after.raw, size), (frame - before.frame) / (after.frame - before.frame))
        shapes.append(shape)
    return shapes


def _between(first: dict[str, Any], last: dict[str, Any], share: float) -> dict[str, Any]:
    kind, points = first["shape_type"], [shape.get("points") or [] for shape in (first, last)]
    if kind in BOXES and kind == last["shape_type"]:
        corners = [np.asarray(each, np.float64) for each in points]
        return first | {"points": (corners[0] + share * (corners[1] - corners[0])).tolist()}
    return first | {"shape_type": BETWEEN, "points": [*points[0], *points[1]]}


def frame_name(frame: int) -> str:
    """The name of a frame's picture, as CVAT exports it."""
    return f"frame_{frame:06}.png"
