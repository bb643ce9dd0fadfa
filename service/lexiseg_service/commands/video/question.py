"""What `lexiseg video` asks about every frame, here or of a server."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from lexiseg_service.commands.segment.question import Question
from lexiseg_service.question.messages import DropPolicy, Followed, FrameAnswer, VideoFrame
from lexiseg_service.question.prompts import resolve_prompt
from lexiseg_service.question.schemas import PromptInput
from lexiseg_service.settings import Limits

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
    follow: tuple[Followed, ...] = ()  # of the task prompt: objects that the first frame shows


def followed(prompts: Sequence[dict[str, Any]]) -> tuple[Followed, ...]:
    """Objects with numbers from 1, in the order of their prompts, which have the form of POST /segment.

    Raises:
        InvalidValue: one has too many points.
    """
    checked = (
        resolve_prompt(PromptInput.model_validate(prompt), f"prompts.{index}", Limits())
        for index, prompt in enumerate(prompts)
    )
    return tuple(Followed(number, prompt) for number, prompt in enumerate(checked, 1))
