"""Questions, frames and answers of a video stream."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from lexiseg_model.pictures.header import PictureHeader
from lexiseg_model.types import Prompt
from lexiseg_service.errors import ServiceError
from lexiseg_service.question.messages import WorkerAnswer, WorkerRequest

DropPolicy = Literal["none", "latest"]


@dataclass(frozen=True)
class StreamQuestion:
    """The question for every frame from now on. `resumed`: another worker answered earlier frames of this stream."""

    request: WorkerRequest  # without an image; its deadline is not used
    smoothing: float = 0.0  # weight of the past in the running average of scores, 0 to 0.95
    tracking: bool = False
    drop_policy: DropPolicy = "none"
    frames_in_flight: int = 4
    resumed: bool = False


@dataclass(frozen=True)
class Followed:
    """An object that a prompt shows in one frame, to be followed under a number that the client chose."""

    track_id: int
    prompt: Prompt


@dataclass(frozen=True)
class VideoFrame:
    """One encoded picture; `timestamp_us` counts microseconds from any origin.

    For the task prompt: `follow` starts objects here (again, if a number is in use), after `unfollow` ended others.
    """

    image: bytes = field(repr=False)
    id: str
    timestamp_us: int = 0
    follow: tuple[Followed, ...] = ()
    unfollow: tuple[int, ...] = ()
    header: PictureHeader | None = None  # of the picture, if it has been read

    @property
    def size(self) -> tuple[int, int] | None:
        return None if self.header is None else self.header.size

    def after(self, dropped: VideoFrame) -> VideoFrame:
        """This frame, with the objects that an earlier, dropped frame should have started and ended."""
        if not dropped.follow and not dropped.unfollow:
            return self
        named = {*self.unfollow, *(each.track_id for each in self.follow)}
        earlier = tuple(each for each in dropped.follow if each.track_id not in named)
        ended = tuple(dict.fromkeys((*dropped.unfollow, *self.unfollow)))
        return replace(self, follow=(*earlier, *self.follow), unfollow=ended)


@dataclass(frozen=True)
class FrameAnswer:
    """The outcome of one frame: an answer, dropped, or an error that does not end the stream."""

    frame_id: str
    timestamp_us: int = 0
    answer: WorkerAnswer | None = None
    dropped: bool = False
    error: ServiceError | None = None
    state_reset: bool = False  # smoothing and tracks restarted with this frame
    lost: tuple[int, ...] = ()  # followed objects that are not visible
