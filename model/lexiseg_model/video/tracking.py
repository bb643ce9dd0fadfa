"""Track numbers of segments from frame to frame, matched by class and IoU of masks."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lexiseg_model.types import LabelMap, Segment
from lexiseg_model.video.motion import Motion

MIN_OVERLAP = 0.2  # intersection over union of a segment and where its track is expected
MAX_MISSED = 2  # frames in a row that a track survives unseen
MAX_TRACKS = 64  # remembered; of more segments the largest are followed

Mask = NDArray[np.uint8]  # [h, w] 0 or 1


@dataclass
class _Track:
    number: int
    class_index: int | None
    mask: Mask
    missed: int = 0


class Tracker:
    """The tracks of one stream. Numbers count from 1 and are never given twice."""

    def __init__(self) -> None:
        self._tracks: list[_Track] = []
        self._next = 1

    @property
    def nbytes(self) -> int:
        """Bytes held; thread-safe."""
        return sum(track.mask.nbytes for track in tuple(self._tracks))

    def forget(self) -> None:
        """End all tracks."""
        self._tracks.clear()

    def follow(
        self, label_map: LabelMap, segments: tuple[Segment, ...], motion: Motion | None, size: tuple[int, int]
    ) -> tuple[int | None, ...]:
        """Give track numbers to the segments of the next frame.

        Args:
            label_map: [H, W] value = segment id, 0 = background.
            motion: since the frame before; None ends all tracks.
            size: (h, w) of the masks to remember, that of `motion`.

        Returns:
            One number for each segment; None for those too small to be seen at `size`.
        """
        if motion is None:
            self.forget()
        else:
            self._move(motion)
        small = cv2.resize(label_map, (size[1], size[0]), interpolation=cv2.INTER_NEAREST).astype(label_map.dtype)
        areas = np.bincount(small.reshape(-1), minlength=max((s.id for s in segments), default=0) + 1)
        owner = self._match(small, areas, segments)
        numbers: list[int | None] = []
        current: list[_Track] = []
        for position, segment in enumerate(segments):
            if not areas[segment.id]:
                numbers.append(None)
                continue
            track = owner.get(position)
            if track is None:
                track = _Track(self._next, segment.class_index, np.empty(0, np.uint8))
                self._next += 1
            track.mask, track.missed = (small == segment.id).astype(np.uint8), 0
            current.append(track)
            numbers.append(track.number)
        self._keep(current)
        return tuple(numbers)

    def _move(self, motion: Motion) -> None:
        x, y = motion.source[..., 0], motion.source[..., 1]
        for track in self._tracks:
            track.mask = np.asarray(cv2.remap(track.mask, x, y, cv2.INTER_NEAREST), np.uint8)

    def _match(self, small: LabelMap, areas: NDArray[np.intp], segments: tuple[Segment, ...]) -> dict[int, _Track]:
        """Position of a segment -> its track, matched greedily by IoU within a class."""
        pairs: list[tuple[float, int, _Track]] = []
        for track in self._tracks:
            inside = small[track.mask > 0]
            shared = np.bincount(inside, minlength=len(areas))
            for position, segment in enumerate(segments):
                if segment.class_index == track.class_index and shared[segment.id]:
                    union = len(inside) + areas[segment.id] - shared[segment.id]
                    pairs.append((shared[segment.id] / union, position, track))
        owner: dict[int, _Track] = {}
        matched: set[int] = set()
        for overlap, position, track in sorted(pairs, key=lambda pair: (-pair[0], pair[2].number)):
            if overlap >= MIN_OVERLAP and position not in owner and track.number not in matched:
                owner[position] = track
                matched.add(track.number)
        return owner

    def _keep(self, current: list[_Track]) -> None:
        """Keep the tracks of this frame, the largest first, then those missed at most MAX_MISSED times."""
        numbers = {track.number for track in current}
        missing = [track for track in self._tracks if track.number not in numbers]
        for track in missing:
            track.missed += 1
        current.sort(key=lambda track: -int(track.mask.sum()))
        patient = [track for track in missing if track.missed <= MAX_MISSED and track.mask.any()]
        self._tracks = (current + patient)[:MAX_TRACKS]
