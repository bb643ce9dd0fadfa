"""Answers to the frames of a video: of an engine in this process, or of a server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypedDict

from lexiseg_client import Client, Frame, FrameAnswer, Point, Prompt
from lexiseg_client.rpc.messages import frame_answer
from lexiseg_model.types import Prompt as ModelPrompt
from lexiseg_service.commands.in_process import engine_of, resolved
from lexiseg_service.commands.question import Question
from lexiseg_service.commands.server import key_for, translated
from lexiseg_service.question.messages import DropPolicy, Followed, StreamQuestion, VideoFrame
from lexiseg_service.question.messages import FrameAnswer as EngineAnswer
from lexiseg_service.question.prompts import resolve_prompt
from lexiseg_service.question.schemas import PromptInput
from lexiseg_service.settings import Limits, Settings
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.wire.messages import encode_frame_answer

# Frames in, from any thread; answers out, in order; closing the answers ends the stream.
Ask = Callable[[Iterator[VideoFrame]], Generator[FrameAnswer, None, None]]
FRAMES_IN_FLIGHT = 4
SECONDS_TO_CONNECT = 10.0


class StreamOptions(TypedDict):
    """What a stream is asked beside the question, as in the `StreamConfig` of the gRPC interface."""

    smoothing: float
    tracking: bool
    drop_policy: DropPolicy


def followed(prompts: Sequence[dict[str, Any]]) -> tuple[Followed, ...]:
    """Objects with numbers from 1, in the order of their prompts, which have the form of `POST /segment`.

    Raises:
        InvalidValue: one has too many points.
    """
    checked = (
        resolve_prompt(PromptInput.model_validate(prompt), f"prompts.{index}", Limits())
        for index, prompt in enumerate(prompts)
    )
    return tuple(Followed(number, prompt) for number, prompt in enumerate(checked, 1))


@contextmanager
def in_process(question: Question, options: StreamOptions, settings: Settings) -> Iterator[Ask]:
    """Load the model, and keep its engine while the block runs. Not inside an event loop.

    Raises:
        ServiceError: the classes or a value are not as expected.
        ModelError: the model cannot be loaded.
    """
    vocabulary = resolved(question, settings)
    with engine_of(settings, question.task) as (engine, segmenter):
        from lexiseg_service.worker.video import Streams  # imports torch: after all checks

        request = question.request(None, vocabulary, segmenter.card.name)
        stream_question = StreamQuestion(request, frames_in_flight=FRAMES_IN_FLIGHT, **options)

        async def steps(frames: Iterator[VideoFrame]) -> AsyncGenerator[StreamQuestion | VideoFrame, None]:
            yield stream_question
            while (frame := await asyncio.to_thread(next, frames, None)) is not None:
                yield frame

        def ask(frames: Iterator[VideoFrame]) -> Generator[FrameAnswer, None, None]:
            with asyncio.Runner() as runner:
                answers = Streams(engine, settings, Metrics()).answers(steps(frames))

                async def step() -> EngineAnswer | None:
                    return await anext(answers, None)

                while (answer := runner.run(step())) is not None:
                    yield frame_answer(encode_frame_answer(answer))

        yield ask


@contextmanager
def by_server(question: Question, options: StreamOptions, settings: Settings, url: str) -> Iterator[Ask]:
    """Ask a server at a URL, or at HOST:PORT of its gRPC, while the block runs. No model and no torch here.

    Raises:
        InvalidValue: the address, the key or a value is not one.
        ServerFailure: the server refused the stream, or does not answer.
    """
    key, url = key_for(url, settings), url.rstrip("/")
    with translated(url), Client(url, api_key=key, timeout=SECONDS_TO_CONNECT) as client:

        def ask(frames: Iterator[VideoFrame]) -> Generator[FrameAnswer, None, None]:
            yield from client.stream(
                map(_client_frame, frames),
                **question.fields,
                model=settings.default_model,  # None: the server's own default
                frames_in_flight=FRAMES_IN_FLIGHT,
                **options,
            )

        yield ask


def _client_frame(frame: VideoFrame) -> Frame:
    follow = {each.track_id: _prompt(each.prompt) for each in frame.follow}
    return Frame(frame.image, frame.timestamp_us, frame.id, follow, frame.unfollow)


def _prompt(prompt: ModelPrompt) -> Prompt:
    return Prompt([Point(point.x, point.y, point.positive) for point in prompt.points], prompt.box)
