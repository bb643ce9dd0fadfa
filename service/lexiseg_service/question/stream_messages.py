"""What goes into a video stream and what comes out, between a gateway and the worker that holds the stream's state."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from lexiseg_model.types import Prompt
from lexiseg_service.errors import ServiceError
from lexiseg_service.question.messages import WorkerAnswer, WorkerRequest

DropPolicy = Literal["none", "latest"]


@dataclass(frozen=True)
class StreamQuestion:
    """What is asked about every frame from now on. `resumed`: another worker answered frames of this stream before."""

    request: WorkerRequest  # without an image; its deadline says nothing
    smoothing: float = 0.0  # share of the past in the running average of scores, 0 to 0.95
    tracking: bool = False
    drop_policy: DropPolicy = "none"
    frames_in_flight: int = 4
    resumed: bool = False


@dataclass(frozen=True)
class Followed:
    """An object that a prompt shows in one frame, to be followed from there on under a number of the client's."""

    track_id: int
    prompt: Prompt


@dataclass(frozen=True)
class VideoFrame:
    """One encoded picture; `timestamp_us` counts microseconds since any moment.

    Of the task prompt: `follow` begins objects here (anew, where a number is followed), `unfollow` ends some before.
    """

    image: bytes = field(repr=False)
    id: str
    timestamp_us: int = 0
    follow: tuple[Followed, ...] = ()
    unfollow: tuple[int, ...] = ()
    size: tuple[int, int] | None = None  # height and width, where its header has been read; zeros: it will be refused

    def after(self, dropped: VideoFrame) -> VideoFrame:
        """This frame, with what a frame before it, which is dropped, should have begun and ended."""
        if not dropped.follow and not dropped.unfollow:
            return self
        said = {*self.unfollow, *(each.track_id for each in self.follow)}
        earlier = tuple(each for each in dropped.follow if each.track_id not in said)
        ended = tuple(dict.fromkeys((*dropped.unfollow, *self.unfollow)))
        return replace(self, follow=(*earlier, *self.follow), unfollow=ended)


@dataclass(frozen=True)
class FrameAnswer:
    """What became of one frame: an answer, dropped, or an error that the stream outlives."""

    frame_id: str
    timestamp_us: int = 0
    answer: WorkerAnswer | None = None
    dropped: bool = False
    error: ServiceError | None = None
    state_reset: bool = False  # smoothing and tracks began anew with this frame
    track_ids: tuple[int | None, ...] = ()  # one for each segment of the answer; empty without tracking
    lost: tuple[int, ...] = ()  # objects that are followed and not seen
