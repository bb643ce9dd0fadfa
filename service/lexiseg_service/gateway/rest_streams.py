"""Video streams for clients that cannot hold one open, as web pages: each frame is a request of its own.

    POST /streams -> id of a stream -> frame, answer -> new config -> frame, answer -> ... -> DELETE, or idle

A task per stream feeds `VideoService.stream` and hands out the answers: a stream lives in the gateway that opened it.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any

import structlog

from lexiseg_service.errors import DeadlineExceeded, ServiceError, UnknownStream, unexpected
from lexiseg_service.gateway.use_case import Caller
from lexiseg_service.gateway.video import Step, StreamConfig, VideoService
from lexiseg_service.question.messages import FrameAnswer, VideoFrame
from lexiseg_service.settings import Settings
from lexiseg_service.shares import Shares

logger = structlog.get_logger("lexiseg.gateway")
ID_BYTES = 16


class OpenStreams:
    """The streams that are open in this gateway. `calls` counts them together with gRPC calls."""

    def __init__(self, video: VideoService, settings: Settings, calls: Shares) -> None:
        self._video = video
        self._calls = calls
        self._seconds = settings.deadline_seconds
        # A frame is already counted as the body of its request, so this never refuses one.
        self._frame_bytes = Shares("bytes of frames", settings.max_bytes_in_flight, 1)
        self._open: dict[str, _Stream] = {}

    async def open(self, config: StreamConfig, caller: Caller) -> str:
        """The id of a new stream.

        Raises:
            QueueFull: too many calls and streams.
            RateLimited: the client itself has too many.
            ServiceError: as of `VideoService.stream`.
        """
        stream = _Stream(caller.owner)
        identity = secrets.token_urlsafe(ID_BYTES)
        self._open[identity] = stream
        try:
            hold = self._calls.take(caller.client)
            stream.task = asyncio.create_task(self._run(identity, stream, config, caller))
            stream.task.add_done_callback(lambda _: hold.release())
            await asyncio.wait({stream.accepted, stream.task}, return_when=asyncio.FIRST_COMPLETED)
            if stream.failure is not None:
                raise stream.failure
        except BaseException:
            self._open.pop(identity, None)
            stream.cancel()
            raise
        return identity

    async def ask(self, identity: str, frame: VideoFrame, caller: Caller) -> FrameAnswer:
        """The answer about the next frame of a stream.

        Raises:
            UnknownStream: no such stream here for that key.
            DeadlineExceeded: the answer did not come in time.
            ServiceError: of the frame, or of the stream.
        """
        stream = self._of(identity, caller)
        try:
            async with asyncio.timeout(self._seconds):
                answer = await stream.ask(frame)
        except TimeoutError:
            raise DeadlineExceeded(f"the frame was not answered within {self._seconds:g} seconds") from None
        if answer.error is not None:
            raise answer.error
        return answer

    async def change(self, identity: str, config: StreamConfig, caller: Caller) -> None:
        """Use `config` for the frames after this; a refused one leaves the stream as it was.

        Raises:
            UnknownStream: no such stream here for that key.
            DeadlineExceeded: the frames before it were not taken in time.
            ServiceError: as of `VideoService.check_config`, or of the stream.
        """
        stream = self._of(identity, caller)
        await self._video.check_config(config, caller)
        try:
            async with asyncio.timeout(self._seconds):
                await stream.change(config)
        except TimeoutError:
            raise DeadlineExceeded(f"the stream took no config within {self._seconds:g} seconds") from None

    async def end(self, identity: str, caller: Caller) -> None:
        """End a stream after it has answered its frames.

        Raises:
            UnknownStream: no such stream here for that key.
        """
        stream = self._of(identity, caller)
        del self._open[identity]
        await stream.end()

    async def close(self) -> None:
        """Drop all streams."""
        streams, self._open = tuple(self._open.values()), {}
        for stream in streams:
            stream.cancel()
        await asyncio.gather(*(stream.task for stream in streams if stream.task is not None), return_exceptions=True)

    def _of(self, identity: str, caller: Caller) -> _Stream:
        stream = self._open.get(identity)
        if stream is None or stream.owner != caller.owner:
            raise UnknownStream("no such stream is open here; open another one and show it the objects again")
        return stream

    async def _run(self, identity: str, stream: _Stream, config: StreamConfig, caller: Caller) -> None:
        failure: ServiceError = UnknownStream("the stream has ended")
        try:
            steps = stream.steps(config)
            async with aclosing(self._video.stream(steps, caller, stream.accept, self._frame_bytes)) as answers:
                async for answer in answers:
                    stream.hand_out(answer)
        except ServiceError as error:
            failure = error
        except Exception as error:
            logger.error("unexpected error", error=type(error).__name__, key_id=caller.owner, exc_info=error)
            failure = unexpected()
        finally:
            self._open.pop(identity, None)
            stream.fail(failure)


@dataclass(eq=False)
class _Change:
    """A new config, and when the stream has taken it."""

    config: StreamConfig
    taken: asyncio.Future[None]


class _Stream:
    """One stream: frames go in, each waits for its answer, answers come in the same order."""

    def __init__(self, owner: str) -> None:
        self.owner = owner
        self.accepted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.failure: ServiceError | None = None
        self.task: asyncio.Task[None] | None = None
        self._inbox: asyncio.Queue[VideoFrame | _Change | None] = asyncio.Queue()
        self._changes: set[asyncio.Future[None]] = set()
        self._waiting: deque[asyncio.Future[FrameAnswer]] = deque()

    async def accept(self) -> None:
        """The first config is accepted."""
        if not self.accepted.done():
            self.accepted.set_result(None)

    async def steps(self, config: StreamConfig) -> AsyncGenerator[Step, None]:
        """The input of `VideoService.stream`."""
        yield config
        while (step := await self._inbox.get()) is not None:
            if isinstance(step, VideoFrame):
                yield step
                continue
            yield step.config
            if not step.taken.done():  # the reader wants the next step: it has accepted the config
                step.taken.set_result(None)

    async def ask(self, frame: VideoFrame) -> FrameAnswer:
        """The answer about a frame."""
        if self.failure is not None:
            raise self.failure
        waiter: asyncio.Future[FrameAnswer] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        self._inbox.put_nowait(frame)
        return await waiter

    async def change(self, config: StreamConfig) -> None:
        """Return when the stream has taken a config."""
        if self.failure is not None:
            raise self.failure
        change = _Change(config, asyncio.get_running_loop().create_future())
        self._changes.add(change.taken)
        change.taken.add_done_callback(self._changes.discard)
        self._inbox.put_nowait(change)
        await change.taken

    def hand_out(self, answer: FrameAnswer) -> None:
        """Give an answer to the oldest waiter, which may have been cancelled."""
        waiter = self._waiting.popleft()
        if not waiter.done():
            waiter.set_result(answer)

    def fail(self, error: ServiceError) -> None:
        """Raise an error for all waiters, and for later ones."""
        self.failure = error
        waiters: list[asyncio.Future[Any]] = [*self._changes, *self._waiting]
        self._waiting.clear()
        for waiter in waiters:
            if not waiter.done():
                waiter.set_exception(error)

    async def end(self) -> None:
        """Answer all frames, then end."""
        self._inbox.put_nowait(None)
        if self.task is not None:
            with suppress(asyncio.CancelledError):
                await asyncio.shield(self.task)

    def cancel(self) -> None:
        """End at once."""
        if self.task is not None:
            self.task.cancel()
