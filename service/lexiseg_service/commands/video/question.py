"""What `lexiseg video` asks about every frame, here or of a server."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass

from lexiseg_service.commands.segment.question import Question
from lexiseg_service.question.stream_messages import DropPolicy, FrameAnswer, VideoFrame

# Frames in, answers out, in order; closing the answers ends the stream.
Ask = Callable[[AsyncIterator[VideoFrame]], AsyncGenerator[FrameAnswer, None]]
FRAMES_IN_FLIGHT = 4


@dataclass(frozen=True)
class VideoQuestion:
    """`question` as for images; the rest as in the `StreamConfig` of the gRPC interface."""

    question: Question
    smoothing: float
    tracking: bool
    drop_policy: DropPolicy
