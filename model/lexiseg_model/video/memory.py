"""State of one video stream: a small copy of the last frame, a moving average of scores, and tracks.

Scores are averaged over frames exponentially, warped by optical flow:

    average(t) = scores(t) + weight * trust * (average(t - 1), moved - scores(t))

Where the flow is not trusted (something comes into view, the light changes) the frame counts alone.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lexiseg_model.errors import OptionError
from lexiseg_model.features import Plan
from lexiseg_model.types import Segmentation
from lexiseg_model.video.motion import Motion, MotionEstimator, Picture, small_picture
from lexiseg_model.video.tracking import Tracker

MAX_WEIGHT = 0.95
MAX_SCORES = 1 << 22  # remembered by one stream: 16 MiB


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
        """Bytes held; thread-safe."""
        past = self._past
        return 0 if past is None else past.nbytes

    def forget(self) -> None:
        """Reset the average."""
        self._past = self._rows = self._shape = None

    @torch.inference_mode()
    def steady(self, scores: Tensor, motion: Motion | None) -> Tensor:
        """Add a frame to the average.

        Args:
            scores: [K, h, w] of the frame; rows mean the same from frame to frame.
            motion: since the frame before; None resets the average.

        Returns:
            [K, h, w].
        """
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
    """The past [K, h, w] where it is now, and the trust [h, w] in it."""
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
    """Indices of the rows to remember, those closest to winning anywhere; None: all."""
    limit = max(1, MAX_SCORES // scores[0].numel())
    if len(scores) <= limit:
        return None
    shortfall = (scores.amax(0) - scores).flatten(1).amin(1)  # 0 for a row that wins somewhere
    return shortfall.topk(limit, largest=False).indices


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
        """Bytes held, without the estimator's working space; thread-safe."""
        picture = self._picture
        return (0 if picture is None else picture.nbytes) + self._smoother.nbytes + self._tracker.nbytes

    def adjust(self, smoothing: float, *, tracking: bool) -> None:
        """Change the settings from the next frame on; the state stays. Errors as for `ScoreSmoother.adjust`."""
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
        """The scores [K, h, w] of the frame, averaged with those of earlier frames along the motion."""
        return self._smoother.steady(scores, self._motion)

    def follow(self, segmentation: Segmentation) -> tuple[int | None, ...]:
        """A track number for each segment of the frame; empty without tracking."""
        if not self._tracking or self._picture is None:
            self._tracker.forget()
            return ()
        height, width, _ = self._picture.shape
        return self._tracker.follow(segmentation.label_map, segmentation.segments, self._motion, (height, width))
