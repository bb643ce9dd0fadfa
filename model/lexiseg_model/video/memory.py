"""State of one video stream: a small copy of the last frame, a moving average of scores, and tracks."""

from __future__ import annotations

from torch import Tensor

from lexiseg_model.features import Plan
from lexiseg_model.types import Segmentation
from lexiseg_model.video.motion import Motion, MotionEstimator, Picture, small_picture
from lexiseg_model.video.smoothing import ScoreSmoother
from lexiseg_model.video.tracking import Tracker


class VideoMemory:
    """For each frame, in order: `look` at it, `steady` its scores, `follow` its segments. One thread at a time."""

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
        """Change the settings from the next frame on; the state stays.

        Args:
            smoothing: share of the past in the average of scores, 0 (off) to 0.95.
            tracking: whether segments get numbers.

        Raises:
            OptionError: smoothing lies outside its range.
        """
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
