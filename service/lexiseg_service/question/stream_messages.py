"""What goes into a video stream and what comes out, between a gateway and the worker that holds the stream's state."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

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
class VideoFrame:
    """One encoded picture; `timestamp_us` counts microseconds since any moment."""

    image: bytes = field(repr=False)
    id: str
    timestamp_us: int = 0


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
