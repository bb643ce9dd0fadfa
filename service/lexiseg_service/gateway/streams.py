"""Video streams of those who cannot hold one open, as pages in a browser: every frame is a request of its own.

    question -> id of a stream -> frame, its answer -> another question -> frame, its answer -> ... -> end, or silence

The stream is `VideoService`'s, as over gRPC. A task of each stream feeds it and hands its answers out, so that a stream
lives in the gateway that opened it.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, suppress
from typing import NamedTuple, Protocol

import structlog

from lexiseg_client.stubs import segmentation_pb2 as pb
from lexiseg_service.errors import DeadlineExceeded, ServiceError, UnknownStream, unexpected
from lexiseg_service.gateway.use_case import Caller
from lexiseg_service.settings import Settings
from lexiseg_service.shares import Shares
from lexiseg_service.wire.errors import error_of

logger = structlog.get_logger("lexiseg.gateway")
ID_BYTES = 16


class Video(Protocol):
    """Answers streams."""

    def check_frame(self, frame: pb.Frame) -> None:
        """Raises what a stream would end with, were it sent this frame."""
        ...

    def stream(
        self,
        messages: AsyncIterator[pb.SegmentVideoRequest],
        caller: Caller,
        accepted: Callable[[], Awaitable[object]],
        room: Shares | None = None,
    ) -> AsyncGenerator[pb.SegmentVideoResponse, None]:
        """One answer for each frame; errors of the stream as a whole are raised."""
        ...

    async def check_config(self, config: pb.StreamConfig, caller: Caller) -> None:
        """Whether a stream can ask that; the error that a stream would end with is raised."""
        ...


class OpenStreams:
    """The streams that are open here. `calls`: what they take of it is counted together with gRPC's calls."""

    def __init__(self, video: Video, settings: Settings, calls: Shares) -> None:
        self._video = video
        self._calls = calls
        self._seconds = settings.deadline_seconds
        # A frame's bytes are counted as the body of its request already: this never refuses what that let in.
        self._room = Shares("bytes of frames", settings.max_bytes_in_flight, 1)
        self._open: dict[str, _Stream] = {}

    async def open(self, config: pb.StreamConfig, caller: Caller) -> str:
        """The id of a new stream.

        Raises:
            QueueFull: there are too many.
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

    async def ask(self, identity: str, frame: pb.Frame, caller: Caller) -> pb.SegmentVideoResponse:
        """The answer about the next frame of a stream.

        Raises:
            UnknownStream: there is none of that id here for that key.
            DeadlineExceeded: the answer did not come in time.
            ServiceError: the frame's own error, or the stream's.
        """
        stream = self._of(identity, caller)
        self._video.check_frame(frame)
        try:
            async with asyncio.timeout(self._seconds):
                answer = await stream.ask(frame)
        except TimeoutError:
            raise DeadlineExceeded(f"the frame was not answered within {self._seconds:g} seconds") from None
        if answer.HasField("error"):
            raise error_of(answer.error)
        return answer

    async def change(self, identity: str, config: pb.StreamConfig, caller: Caller) -> None:
        """Frames after this one are asked `config`. One that is refused leaves the stream as it was.

        Raises:
            UnknownStream: there is none of that id here for that key.
            DeadlineExceeded: the frames before it were not taken in time.
            ServiceError: as of `Video.check_config`, or the stream's.
        """
        stream = self._of(identity, caller)
        await self._video.check_config(config, caller)
        try:
            async with asyncio.timeout(self._seconds):
                await stream.change(config)
        except TimeoutError:
            raise DeadlineExceeded(f"the stream took no question within {self._seconds:g} seconds") from None

    async def end(self, identity: str, caller: Caller) -> None:
        """The stream answers what it has, and is no more.

        Raises:
            UnknownStream: there is none of that id here for that key.
        """
        stream = self._of(identity, caller)
        del self._open[identity]
        await stream.end()

    async def close(self) -> None:
        """Drops all of them."""
        streams, self._open = tuple(self._open.values()), {}
        for stream in streams:
            stream.cancel()
        await asyncio.gather(*(stream.task for stream in streams if stream.task is not None), return_exceptions=True)

    def _of(self, identity: str, caller: Caller) -> _Stream:
        stream = self._open.get(identity)
        if stream is None or stream.owner != caller.owner:
            raise UnknownStream("no such stream is open here; open another, and show it the objects again")
        return stream

    async def _run(self, identity: str, stream: _Stream, config: pb.StreamConfig, caller: Caller) -> None:
        failure: ServiceError = UnknownStream("the stream is ended")
        try:
            messages = stream.messages(config)
            async with aclosing(self._video.stream(messages, caller, stream.accept, self._room)) as answers:
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


class _Change(NamedTuple):
    """Another question, and when the stream has taken it."""

    config: pb.StreamConfig
    taken: asyncio.Future[None]


class _Stream:
    """One stream: frames go in, and each waits for its answer; they come in the same order."""

    def __init__(self, owner: str) -> None:
        self.owner = owner
        self.accepted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.failure: ServiceError | None = None
        self.task: asyncio.Task[None] | None = None
        self._inbox: asyncio.Queue[pb.Frame | _Change | None] = asyncio.Queue()
        self._changes: set[asyncio.Future[None]] = set()
        self._waiting: deque[asyncio.Future[pb.SegmentVideoResponse]] = deque()

    async def accept(self) -> None:
        """The first question is good."""
        if not self.accepted.done():
            self.accepted.set_result(None)

    async def messages(self, config: pb.StreamConfig) -> AsyncGenerator[pb.SegmentVideoRequest, None]:
        """What `VideoService` reads."""
        yield pb.SegmentVideoRequest(config=config)
        while (step := await self._inbox.get()) is not None:
            if isinstance(step, pb.Frame):
                yield pb.SegmentVideoRequest(frame=step)
                continue
            yield pb.SegmentVideoRequest(config=step.config)
            if not step.taken.done():  # whoever reads wants the next message: that one was good
                step.taken.set_result(None)

    async def ask(self, frame: pb.Frame) -> pb.SegmentVideoResponse:
        """The answer about a frame."""
        if self.failure is not None:
            raise self.failure
        turn: asyncio.Future[pb.SegmentVideoResponse] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._inbox.put_nowait(frame)
        return await turn

    async def change(self, config: pb.StreamConfig) -> None:
        """Comes back when the stream has taken it."""
        if self.failure is not None:
            raise self.failure
        change = _Change(config, asyncio.get_running_loop().create_future())
        self._changes.add(change.taken)
        change.taken.add_done_callback(self._changes.discard)
        self._inbox.put_nowait(change)
        await change.taken

    def hand_out(self, answer: pb.SegmentVideoResponse) -> None:
        """To whom has waited for longest, who may have gone."""
        turn = self._waiting.popleft()
        if not turn.done():
            turn.set_result(answer)

    def fail(self, error: ServiceError) -> None:
        """Nobody gets an answer any more."""
        self.failure = error
        for taken in tuple(self._changes):
            if not taken.done():
                taken.set_exception(error)
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_exception(error)

    async def end(self) -> None:
        """Answers what is there, then ends."""
        self._inbox.put_nowait(None)
        if self.task is not None:
            with suppress(asyncio.CancelledError):
                await asyncio.shield(self.task)

    def cancel(self) -> None:
        """Ends it at once."""
        if self.task is not None:
            self.task.cancel()
