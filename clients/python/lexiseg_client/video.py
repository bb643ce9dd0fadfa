"""Frames of a video and their answers, as a stream takes and gives them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from lexiseg_client.errors import ProblemError
from lexiseg_client.images import ImageLike
from lexiseg_client.question.options import Classes, CommonOptions, Unpack, question_json
from lexiseg_client.question.prompts import Point, Prompt
from lexiseg_client.segmentation import Segmentation
from lexiseg_client.segments import Segment

DropPolicy: TypeAlias = Literal["none", "latest"]


class StreamOptions(CommonOptions, total=False):
    """`Options` without prompts, which frames do not take, and how a stream is run."""

    smoothing: float | None  # 0 to 0.95: share of the past in a running average of scores; labels flicker less
    tracking: bool  # segments get a `track_id` that stays with the object from frame to frame
    drop_policy: DropPolicy | None  # "none": every frame is answered; "latest": stale ones are skipped and said so
    frames_in_flight: int | None  # frames that the server works on at a time, 1 to 16


KNOWN = frozenset(StreamOptions.__annotations__)


@dataclass(frozen=True)
class Frame:
    """One frame, with the timestamp and id that its answer repeats.

    Pixels are sent as a lossless PNG; a camera at full rate does better to hand over the bytes of JPEG files.

    In a stream with `task="prompt"`, `follow` shows objects that are followed from this frame on, each under a number
    from 1, which their segments have as `track_id`; `unfollow` names those that are followed no more.
    """

    image: ImageLike
    timestamp_us: int = 0  # microseconds since any moment
    id: str = ""  # at most 128 characters; empty: the frame's number, from 0
    follow: Mapping[int, Prompt | Point] = field(default_factory=dict)
    unfollow: Sequence[int] = ()


class NewQuestion:
    """A new question among the frames of a stream, from the next frame on. Options left out have their defaults.

    Raises:
        TypeError, ValueError: an unknown option, or classes that are no list. A value that an option does not take is
            raised by the stream.
    """

    def __init__(self, classes: Classes | None = None, **options: Unpack[StreamOptions]) -> None:
        self.fields = question_json(classes, options, KNOWN)


@dataclass(frozen=True)
class FrameAnswer:
    """The answer about one frame.

    `answer` is None where the frame was `dropped` (a newer one overtook it) or failed (`error`, not raised: the stream
    goes on). `state_reset`: smoothing and tracks began anew here, and objects of before are followed no more.
    `lost`: the numbers of objects that are followed and not seen here.
    """

    frame_id: str
    timestamp_us: int
    answer: Segmentation | None
    dropped: bool = False
    error: ProblemError | None = field(default=None)
    state_reset: bool = False
    lost: tuple[int, ...] = ()

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The segments of the answer; none where there is no answer."""
        return () if self.answer is None else self.answer.segments


# Pixels, files or frames to be answered, and changes of the question in between.
StreamItem: TypeAlias = ImageLike | Frame | NewQuestion
