"""State of one video stream: a small copy of the last frame, a moving average of scores, and tracks.

Scores are averaged over frames exponentially, warped by optical flow:

    average(t) = scores(t) + weight * trust * (average(t - 1), moved - scores(t))

Where the flow is not trusted (something comes into view, the light changes) only the frame counts. Tracks are matched
by class and IoU of masks.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.errors import OptionError
from lexiseg_model.features import Plan
from lexiseg_model.types import LabelMap, Segment, Segmentation

TOLERANCE = 12.0  # gray levels of error at which trust falls to 1/e
NOISE_BLUR = 1.5  # pixels, against noise of single pixels
BINS = 8  # of each colour
# Consecutive frames and frames ten apart of the same scene stay below 0.22 and mostly above 0.7; different scenes are
# above 0.39 and below 0.65 (docs/video.md). A change of light changes the colours, but keeps the correlation.
OTHER_COLOURS = 0.3
SAME_SHAPES = 0.7
MIN_SIDE = 16  # pixels, for the patches of the search
MAX_SIDE = 256  # pixels; optical flow gains nothing from more (docs/video.md)

Gray = NDArray[np.uint8]  # [h, w]
Picture = NDArray[np.uint8]  # [h, w, 3] RGB
MAX_WEIGHT = 0.95
MAX_SCORES = 1 << 22  # remembered by one stream: 16 MiB
MIN_OVERLAP = 0.2  # intersection over union of a segment and where its track is expected
MAX_MISSED = 2  # frames in a row that a track survives unseen
MAX_TRACKS = 64  # remembered; of more segments the largest are followed
Mask = NDArray[np.uint8]  # [h, w] 0 or 1


@dataclass(frozen=True)
class Motion:
    """Motion from one picture to the next, both [h, w]."""

    source: NDArray[np.float32]  # [h, w, 2] (x, y) in the earlier picture of what is now at each pixel
    trust: NDArray[np.float32]  # [h, w] in 0..1: how well the two agree, 0 where it was outside
    cut: bool  # they show different scenes


class MotionEstimator:
    """Compares pictures of one stream. Not thread-safe."""

    def __init__(self) -> None:
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)

    def compare(self, before: Picture, now: Picture) -> Motion:
        """The motion from one picture to the next, of the same size."""
        gray_before, gray_now = (np.asarray(cv2.cvtColor(each, cv2.COLOR_RGB2GRAY), np.uint8) for each in (before, now))
        height, width = gray_now.shape
        source = np.zeros((height, width, 2), np.float32)  # first how far away each pixel was
        if min(height, width) >= MIN_SIDE:
            source = np.asarray(self._flow.calc(gray_now, gray_before, None), np.float32)  # type: ignore[call-overload]
        source[..., 0] += np.arange(width, dtype=np.float32)
        source[..., 1] += np.arange(height, dtype=np.float32)[:, None]
        x, y = source[..., 0], source[..., 1]
        moved = np.asarray(cv2.remap(gray_before, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.uint8)
        error = cv2.GaussianBlur(cv2.absdiff(moved, gray_now).astype(np.float32), (0, 0), NOISE_BLUR)
        trust = np.exp(-np.square(error / TOLERANCE))
        # Pixels reach half a pixel beyond their centres.
        trust[(x < -0.5) | (y < -0.5) | (x > width - 0.5) | (y > height - 0.5)] = 0
        cut = _colour_distance(before, now) > OTHER_COLOURS and _likeness(moved, gray_now) < SAME_SHAPES
        return Motion(source, trust.astype(np.float32), cut)


def _colour_distance(one: Picture, other: Picture) -> float:
    """Half the L1 distance of the colour histograms: 0 the same colours, 1 none in common."""
    histograms = [cv2.calcHist([picture], [0, 1, 2], None, [BINS] * 3, [0, 256] * 3) for picture in (one, other)]
    return float(np.abs(histograms[0] - histograms[1]).sum() / (2 * one.shape[0] * one.shape[1]))


def _likeness(one: Gray, other: Gray) -> float:
    """Correlation of two gray pictures; two flat ones are alike."""
    a, b = (gray.astype(np.float32) - gray.mean() for gray in (one, other))
    scale = float(np.sqrt(np.square(a).sum() * np.square(b).sum()))
    return float((a * b).sum()) / scale if scale > 0 else 1.0


def small_picture(plan: Plan) -> Picture:
    """The frame that a plan's tiles show, its longer side at most MAX_SIDE."""
    canvas = plan.bucket if plan.layout is None else plan.layout.canvas
    factor = min(1.0, MAX_SIDE / max(canvas))
    height, width = (max(1, round(side * factor)) for side in canvas)
    if plan.layout is None:
        return _shrunk(plan.tiles[0], (height, width))
    picture = np.zeros((height, width, 3), np.uint8)
    for tile, (top, left) in zip(plan.tiles, plan.layout.offsets, strict=True):
        rows = _span(top, tile.shape[1], factor, height)
        columns = _span(left, tile.shape[2], factor, width)
        picture[rows, columns] = _shrunk(tile, (rows.stop - rows.start, columns.stop - columns.start))
    return picture


def _span(first: int, length: int, factor: float, end: int) -> slice:
    start = min(round(first * factor), end - 1)
    return slice(start, min(end, max(start + 1, round((first + length) * factor))))


def _shrunk(tile: NDArray[np.uint8], size: tuple[int, int]) -> Picture:
    pixels = np.ascontiguousarray(tile.transpose(1, 2, 0))
    return np.asarray(cv2.resize(pixels, (size[1], size[0]), interpolation=cv2.INTER_AREA), np.uint8)


class ScoreSmoother:
    """Moving average of the scores of one stream; bounded in size."""

    def __init__(self, weight: float = 0.0) -> None:
        self._past: Tensor | None = None  # average of the frame before
        self._rows: Tensor | None = None  # indices of the rows of the scores that `_past` holds; None: all
        self._shape: torch.Size | None = None  # of the scores
        self.adjust(weight)

    def adjust(self, weight: float) -> None:
        """Set the share of the past, 0 (off) to 0.95. Raises OptionError: it lies outside."""
        if not 0 <= weight <= MAX_WEIGHT:
            raise OptionError(f"the share of the past is 0 to {MAX_WEIGHT}, not {weight}")
        self.weight = weight

    @property
    def nbytes(self) -> int:
        past = self._past  # read once: another thread may call this
        return 0 if past is None else past.nbytes

    def forget(self) -> None:
        self._past = self._rows = self._shape = None

    @torch.inference_mode()
    def steady(self, scores: Tensor, motion: Motion | None) -> Tensor:
        """The average with the scores [K, h, w] of a frame; rows mean the same from frame to frame. Without a `motion`
        since the frame before it begins anew."""
        if not self.weight:
            self.forget()
            return scores
        average = scores
        if motion is not None and self._past is not None and self._shape == scores.shape:
            past, trust = _moved(self._past, motion)
            # In place on what was just made: scores + weight * trust * (past - scores).
            if self._rows is None:
                average = past.sub_(scores).mul_(self.weight * trust).add_(scores)
            else:
                fresh = scores[self._rows]
                average = scores.index_copy(0, self._rows, past.sub_(fresh).mul_(self.weight * trust).add_(fresh))
        self._shape = scores.shape
        self._rows = _worth_keeping(average)
        self._past = average if self._rows is None else average[self._rows]
        return average


def _moved(past: Tensor, motion: Motion) -> tuple[Tensor, Tensor]:
    _, height, width = past.shape
    tall, wide = motion.trust.shape
    source = cv2.resize(motion.source, (width, height), interpolation=cv2.INTER_AREA)
    trust = cv2.resize(motion.trust, (width, height), interpolation=cv2.INTER_AREA)
    # Pixel centres to -1..1, as grid_sample counts with align_corners=False.
    grid = (source + np.float32(0.5)) * (2 / np.array([wide, tall], np.float32)) - 1
    where = torch.from_numpy(grid.astype(np.float32))[None].to(past.device)
    moved = F.grid_sample(past[None], where, padding_mode="border", align_corners=False)[0]
    return moved, torch.from_numpy(trust).to(past.device)


def _worth_keeping(scores: Tensor) -> Tensor | None:
    """Indices of the rows to remember, the closest to winning anywhere; None: all."""
    limit = max(1, MAX_SCORES // scores[0].numel())
    if len(scores) <= limit:
        return None
    shortfall = (scores.amax(0) - scores).flatten(1).amin(1)  # 0 for a row that wins somewhere
    return shortfall.topk(limit, largest=False).indices


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
        return sum(track.mask.nbytes for track in tuple(self._tracks))

    def forget(self) -> None:
        self._tracks.clear()

    def follow(
        self, label_map: LabelMap, segments: tuple[Segment, ...], motion: Motion | None, size: tuple[int, int]
    ) -> tuple[int | None, ...]:
        """The track number of each segment of the next frame; None: it is too small to be seen at `size`.

        `label_map` [H, W] has the ids. Without a `motion` since the frame before all tracks end; `size` (h, w) is its.
        """
        if motion is None:
            self.forget()
        else:
            x, y = motion.source[..., 0], motion.source[..., 1]
            for earlier in self._tracks:
                earlier.mask = np.asarray(cv2.remap(earlier.mask, x, y, cv2.INTER_NEAREST), np.uint8)
        small = cv2.resize(label_map, (size[1], size[0]), interpolation=cv2.INTER_NEAREST).astype(label_map.dtype)
        areas = np.bincount(small.reshape(-1), minlength=max((s.id for s in segments), default=0) + 1)
        owner = self._match(small, areas, segments)
        current: dict[int, _Track] = {}
        for position, segment in enumerate(segments):
            if areas[segment.id]:
                if (track := owner.get(position)) is None:
                    track = _Track(self._next, segment.class_index, np.empty(0, np.uint8))
                    self._next += 1
                track.mask, track.missed = (small == segment.id).astype(np.uint8), 0
                current[position] = track
        numbers = tuple(current[place].number if place in current else None for place in range(len(segments)))
        self._keep([*current.values()])
        return numbers

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
        """Keep the tracks of this frame, the largest first, then the ones missed at most MAX_MISSED times."""
        numbers = {track.number for track in current}
        missing = [track for track in self._tracks if track.number not in numbers]
        for track in missing:
            track.missed += 1
        current.sort(key=lambda track: -int(track.mask.sum()))
        patient = [track for track in missing if track.missed <= MAX_MISSED and track.mask.any()]
        self._tracks = (current + patient)[:MAX_TRACKS]


class VideoMemory:
    """State of one stream. For each frame call `look`, `steady` and `follow`, in this order; not thread-safe."""

    def __init__(self, smoothing: float = 0.0, tracking: bool = False) -> None:
        self._smoother = ScoreSmoother()
        self._tracker = Tracker()
        self._estimator = MotionEstimator()
        self._picture: Picture | None = None
        self._motion: Motion | None = None
        self._tracking = False
        self.adjust(smoothing, tracking=tracking)

    @property
    def nbytes(self) -> int:
        """Bytes, without the estimator's working space; thread-safe."""
        picture = self._picture
        return (0 if picture is None else picture.nbytes) + self._smoother.nbytes + self._tracker.nbytes

    def adjust(self, smoothing: float, *, tracking: bool) -> None:
        """Change the settings from the next frame on. Raises OptionError: the share of the past is out of range."""
        self._smoother.adjust(smoothing)
        self._tracking = tracking

    def forget(self) -> None:
        """Reset the state; track numbers are not reused."""
        self._picture = self._motion = None
        self._smoother.forget()
        self._tracker.forget()

    def look(self, plan: Plan) -> bool:
        """Estimate the motion to the next frame; True for a scene cut, which resets average and tracks."""
        if not self._tracking and not self._smoother.weight:
            self.forget()
            return False
        before, now = self._picture, small_picture(plan)
        self._picture, self._motion = now, None
        if before is None:
            return False
        if before.shape == now.shape:
            motion = self._estimator.compare(before, now)
            self._motion = None if motion.cut else motion
        return self._motion is None

    def steady(self, scores: Tensor) -> Tensor:
        """The scores [K, h, w] of the frame, averaged with earlier frames along the motion."""
        return self._smoother.steady(scores, self._motion)

    def follow(self, segmentation: Segmentation) -> tuple[int | None, ...]:
        """A track number for each segment of the frame; empty without tracking."""
        if not self._tracking or self._picture is None:
            self._tracker.forget()
            return ()
        height, width, _ = self._picture.shape
        return self._tracker.follow(segmentation.label_map, segmentation.segments, self._motion, (height, width))
