"""Frames, options and answers of a video stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from lexiseg_client.errors import LexisegError
from lexiseg_client.images import ImageLike
from lexiseg_client.question import Classes, CommonOptions, Point, Prompt, Unpack, question_json
from lexiseg_labels.segmentation import Segmentation
from lexiseg_labels.segments import Segment

DropPolicy: TypeAlias = Literal["none", "latest"]


class StreamOptions(CommonOptions, total=False):
    """Options of a video stream."""

    smoothing: float | None  # 0 to 0.95: weight of past frames in a moving average of scores; reduces flicker
    tracking: bool  # segments get a `track_id` that is stable across frames
    drop_policy: DropPolicy | None  # "none": answer every frame; "latest": drop frames that a newer one overtook
    frames_in_flight: int | None  # frames that the server processes concurrently, 1 to 16


NAMES = frozenset(StreamOptions.__annotations__)


@dataclass(frozen=True)
class Frame:
    """One frame, with the timestamp and id that its answer repeats.

    Pixels are sent as lossless PNG; for a camera, JPEG bytes are faster. With `task="prompt"`, `follow` adds objects to
    track from this frame on, keyed by `track_id` (from 1); `unfollow` lists track ids to stop tracking.
    """

    image: ImageLike
    timestamp_us: int = 0  # microseconds since an arbitrary origin
    id: str = ""  # at most 128 characters; empty: the frame's number, from 0
    follow: Mapping[int, Prompt | Point] = field(default_factory=dict)
    unfollow: Sequence[int] = ()


class NewQuestion:
    """New classes and options for a stream, from the next frame on; omitted options return to their defaults.

    Raises:
        TypeError, ValueError: an unknown option, or classes that are not a list. The stream raises for invalid values.
    """

    def __init__(self, classes: Classes | None = None, **options: Unpack[StreamOptions]) -> None:
        self.fields: dict[str, Any] = question_json(classes, options, NAMES)


@dataclass(frozen=True)
class FrameAnswer:
    """The answer to one frame.

    `answer` is None if the frame was `dropped` (a newer one overtook it) or failed (`error`, not raised: the stream
    continues): a problem of the server, or why the image could not be sent, as `FileNotFoundError`. `state_reset`:
    smoothing and tracking restarted, and followed objects were lost. `lost`: track ids of followed objects that are
    not visible in this frame.
    """

    frame_id: str
    timestamp_us: int
    answer: Segmentation | None
    dropped: bool = False
    error: LexisegError | OSError | None = field(default=None)
    state_reset: bool = False
    lost: tuple[int, ...] = ()

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The answer's segments; empty without an answer."""
        return () if self.answer is None else self.answer.segments


# What a stream accepts: frames, and changes of classes and options between them.
StreamItem: TypeAlias = ImageLike | Frame | NewQuestion
