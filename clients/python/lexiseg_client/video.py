"""Frames of a video and their answers: what both clients share of streams."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from lexiseg_client.answers.segmentation import Segment, Segmentation
from lexiseg_client.errors import ProblemError, UnusableImage
from lexiseg_client.pictures.images import ImageId, ImageLike, ImageUrl, file_bytes
from lexiseg_client.question.options import Classes, CommonOptions, Unpack, question_json
from lexiseg_client.rpc import reading
from lexiseg_client.rpc.asking import filled
from lexiseg_client.stubs import segmentation_pb2 as pb

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
    """One frame with what its answer shall repeat.

    Pixels are sent as a lossless PNG; a camera at full rate does better to hand over the bytes of JPEG files.
    """

    image: ImageLike
    timestamp_us: int = 0  # microseconds since any moment
    id: str = ""  # at most 128 characters; empty: the frame's number, from 0


class NewQuestion:
    """Among the frames of a stream: what is asked from the next frame on. All that it leaves out is as in a new stream.

    Raises:
        TypeError, ValueError: an unknown option, or a word that the option does not take.
    """

    def __init__(self, classes: Classes | None = None, **options: Unpack[StreamOptions]) -> None:
        self.message = config(classes, options)


@dataclass(frozen=True)
class FrameAnswer:
    """The answer about one frame.

    `answer` is None where the frame was `dropped` (a newer one overtook it) or failed (`error`, not raised: the stream
    goes on). `state_reset`: smoothing and tracks began anew here.
    """

    frame_id: str
    timestamp_us: int
    answer: Segmentation | None
    dropped: bool = False
    error: ProblemError | None = field(default=None)
    state_reset: bool = False

    @property
    def segments(self) -> tuple[Segment, ...]:
        """Those of the answer; none without one."""
        return () if self.answer is None else self.answer.segments


# Pixels, files or frames to be answered, and changes of the question in between.
StreamItem: TypeAlias = ImageLike | Frame | NewQuestion


def config(classes: Classes | None, options: Mapping[str, Any]) -> pb.SegmentVideoRequest:
    """The message that begins a stream, or changes its question.

    Raises:
        TypeError: an unknown option, or one string instead of a list of classes.
        ValueError: a word that has no number.
    """
    question = question_json(classes, options, KNOWN)
    return pb.SegmentVideoRequest(config=filled(pb.StreamConfig(), question))


def message_of(item: StreamItem) -> pb.SegmentVideoRequest:
    """A frame, packed, or a change of the question.

    Raises:
        UnusableImage: no image, or one that is elsewhere.
        OSError: its file cannot be read.
    """
    if isinstance(item, NewQuestion):
        return item.message
    frame = item if isinstance(item, Frame) else Frame(item)
    if isinstance(frame.image, (ImageId, ImageUrl)) or (isinstance(frame.image, str) and "://" in frame.image):
        raise UnusableImage("expected a frame's own bytes or pixels; a stream takes no URLs and no image ids")
    return pb.SegmentVideoRequest(
        frame=pb.Frame(image=file_bytes(frame.image), timestamp_us=frame.timestamp_us, id=frame.id)
    )


def read_answer(found: pb.SegmentVideoResponse) -> FrameAnswer:
    """A message of the server's."""
    return FrameAnswer(
        frame_id=found.frame_id,
        timestamp_us=found.timestamp_us,
        answer=reading.segmentation(found.answer) if found.HasField("answer") else None,
        dropped=found.dropped,
        error=reading.problem_error(found.error) if found.HasField("error") else None,
        state_reset=found.state_reset,
    )
