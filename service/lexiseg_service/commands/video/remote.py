"""A video through a running server. No model and no torch here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import cast

from lexiseg_client import AsyncClient, Class, Frame, Point, Prompt
from lexiseg_client import FrameAnswer as ClientAnswer
from lexiseg_model.types import Prompt as ModelPrompt
from lexiseg_service.commands.server import Server, answer_of
from lexiseg_service.commands.video.question import FRAMES_IN_FLIGHT, Ask, VideoQuestion
from lexiseg_service.errors import error_of
from lexiseg_service.question.messages import FrameAnswer, VideoFrame
from lexiseg_service.settings import Settings

SECONDS_TO_CONNECT = 10.0


class _Frames:
    """Frames as the client takes them, one at a time, until `close`.

    The client's connection takes them in a task of its own: whoever gave us the frames must know when nobody does any
    more.
    """

    def __init__(self, frames: AsyncIterator[VideoFrame]) -> None:
        self._frames = frames
        self._next: asyncio.Task[VideoFrame | None] | None = None

    def __aiter__(self) -> _Frames:
        return self

    async def __anext__(self) -> Frame:
        self._next = asyncio.create_task(self._following())
        frame = await self._next
        if frame is None:
            raise StopAsyncIteration
        follow = {each.track_id: _prompt(each.prompt) for each in frame.follow}
        return Frame(frame.image, frame.timestamp_us, frame.id, follow, frame.unfollow)

    async def close(self) -> None:
        if self._next is not None:
            self._next.cancel()
            await asyncio.wait([self._next])

    async def _following(self) -> VideoFrame | None:
        return await anext(self._frames, None)


def opened(video_question: VideoQuestion, settings: Settings, url: str) -> Ask:
    """How to ask a server at a URL, or at HOST:PORT of its gRPC.

    Raises:
        InvalidValue: the address, the key or a value cannot be one.
    """
    server = Server.of(url, settings)
    question = video_question.question
    question.validated()

    async def ask(frames: AsyncIterator[VideoFrame]) -> AsyncGenerator[FrameAnswer, None]:
        taken = _Frames(frames)
        with server.translated():
            async with (
                AsyncClient(server.url, api_key=server.key or "", timeout=SECONDS_TO_CONNECT) as client,
                aclosing(
                    client.stream(
                        taken,
                        cast("list[str | Class]", list(question.classes)) or None,
                        vocabulary=question.vocabulary,
                        task=question.task,
                        # Unless somebody names a model, the server's own default answers.
                        model=settings.default_model,
                        background=question.background,
                        threshold=question.threshold,
                        max_side=question.max_side,
                        smoothing=video_question.smoothing,
                        tracking=video_question.tracking,
                        drop_policy=video_question.drop_policy,
                        frames_in_flight=FRAMES_IN_FLIGHT,
                    )
                ) as answers,
            ):
                try:
                    async for answer in answers:
                        yield _frame_answer(answer)
                finally:
                    await taken.close()

    return ask


def _frame_answer(answer: ClientAnswer) -> FrameAnswer:
    track_ids = tuple(segment.track_id for segment in answer.segments)
    return FrameAnswer(
        frame_id=answer.frame_id,
        timestamp_us=answer.timestamp_us,
        answer=None if answer.answer is None else answer_of(answer.answer),
        dropped=answer.dropped,
        error=None if answer.error is None else error_of(answer.error.type, answer.error.problem.detail),
        state_reset=answer.state_reset,
        track_ids=track_ids if any(number is not None for number in track_ids) else (),
        lost=answer.lost,
    )


def _prompt(prompt: ModelPrompt) -> Prompt:
    return Prompt([Point(point.x, point.y, point.positive) for point in prompt.points], prompt.box)
