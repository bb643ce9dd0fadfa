"""One video stream in the worker: what of it is worked on when, what is left out, and the answers in order.

steps -> read -> waiting -> engine (at work) -> line of outcomes -> answers

none     no step is taken while as many frames are unanswered as may be in flight: whoever sends them waits
latest   steps are taken as they come; a frame that still waits when the next one comes is dropped
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

import structlog

from lexiseg_service.errors import DeadlineExceeded, MalformedRequest, NotReady, QueueFull, ServiceError, unexpected
from lexiseg_service.question.stream_messages import FrameAnswer, StreamQuestion, VideoFrame
from lexiseg_service.worker.models.pool import GOING_DOWN
from lexiseg_service.worker.video.asking_again import AskingAgain
from lexiseg_service.worker.video.frames import FrameLane

logger = structlog.get_logger("lexiseg.video")
# With `latest`: one in the image pass and one behind it keep the device busy; more would only wait, and grow old.
LATEST_AT_WORK = 2
MOST_UNANSWERED = 64  # frames of a stream with `latest`, most of them dropped: then nothing more is read


@dataclass(eq=False)
class _Entry:
    """A frame on its way; `outcome` is set once, to an exception when the stream ends there."""

    frame: VideoFrame
    question: StreamQuestion
    outcome: asyncio.Future[FrameAnswer]
    since: float = field(default_factory=time.monotonic)
    work: asyncio.Future[FrameAnswer] | None = None

    @property
    def source(self) -> str:
        """Whose streams wait in one line."""
        return self.question.request.source


@dataclass(frozen=True)
class _End:
    error: Exception | None


class Session:
    """Runs one stream on the event loop that it is made on."""

    def __init__(
        self,
        lane: FrameLane,
        again: AskingAgain,
        patience: float,
        silence: float,
        on_frame: Callable[[str], None] = lambda _: None,
    ) -> None:
        """One stream.

        Args:
            lane: its way through the engine.
            again: where it waits for an engine that is full.
            patience: seconds that a frame may wait for a full engine.
            silence: seconds without a step, then whoever sent them is taken for lost.
            on_frame: hears ok, error or dropped of each frame.
        """
        self._lane = lane
        self._again = again
        self._patience = patience
        self._silence = silence
        self._on_frame = on_frame
        self._loop = asyncio.get_running_loop()
        self._line: asyncio.Queue[_Entry | _End] = asyncio.Queue()
        self._waiting: deque[_Entry] = deque()  # not taken by the engine yet
        self._at_work: set[_Entry] = set()
        self._unanswered = 0
        self._answered = asyncio.Event()
        self._question: StreamQuestion | None = None
        self._reading: asyncio.Task[None] | None = None
        self._why_left: str | None = None

    def leave(self, why: str) -> None:
        """Takes no more steps, answers what has been taken, and ends with `NotReady`."""
        self._why_left = why
        if self._reading is not None:
            self._reading.cancel()

    async def answers(self, steps: AsyncIterator[StreamQuestion | VideoFrame]) -> AsyncGenerator[FrameAnswer, None]:
        """One answer for each frame, in order.

        Raises:
            ServiceError: the stream as a whole failed; also what `steps` raises, when all before it is answered.
        """
        self._reading = asyncio.create_task(self._read(steps))
        try:
            while isinstance(entry := await self._line.get(), _Entry):
                answer = await entry.outcome
                self._on_frame("dropped" if answer.dropped else "ok" if answer.error is None else "error")
                yield answer
                del entry, answer  # with a frame, which a silent client would have us keep
                self._unanswered -= 1
                self._answered.set()
            if entry.error is not None:
                raise entry.error
        finally:
            self._reading.cancel()
            self._abandon()
            with suppress(asyncio.CancelledError):
                await self._reading

    async def _read(self, steps: AsyncIterator[StreamQuestion | VideoFrame]) -> None:
        error: Exception | None = None
        try:
            while self._why_left is None:
                while self._unanswered >= self._most_unanswered:
                    self._answered.clear()
                    await self._answered.wait()
                async with asyncio.timeout(self._silence):
                    step = await anext(steps)
                self._take(step)
                del step
        except StopAsyncIteration:
            pass
        except TimeoutError:
            error = DeadlineExceeded(f"no frame came for {self._silence:g} seconds; the video stream is ended")
        except asyncio.CancelledError:
            if self._why_left is None:
                raise
        except Exception as raised:
            error = raised
        if self._why_left is not None:
            error = NotReady(self._why_left)
        self._line.put_nowait(_End(error))

    @property
    def _most_unanswered(self) -> int:
        if self._question is None:
            return 1
        return self._question.frames_in_flight if self._question.drop_policy == "none" else MOST_UNANSWERED

    def _take(self, step: StreamQuestion | VideoFrame) -> None:
        if isinstance(step, StreamQuestion):
            self._lane.check(step)
            self._question = step
            return
        if self._question is None:
            raise MalformedRequest("the first message of a stream is a frame; expected a config")
        if self._question.drop_policy == "latest":
            while self._waiting:
                stale = self._waiting.popleft()
                step = step.after(stale.frame)
                stale.outcome.set_result(FrameAnswer(stale.frame.id, stale.frame.timestamp_us, dropped=True))
        entry = _Entry(step, self._question, self._loop.create_future())
        self._unanswered += 1
        self._line.put_nowait(entry)
        self._waiting.append(entry)
        self._pump()

    def _pump(self) -> None:
        """Gives the engine what waits, as much as may be at work, unless others of this client ask before."""
        if self._waiting and self._again.is_waiting(self._waiting[0].source):
            self._again.join(self._waiting[0].source, self, self._ask)
        else:
            self._ask()

    def _ask(self) -> bool:
        """Whether the engine had room for all that it was asked."""
        while self._waiting and len(self._at_work) < _width(self._waiting[0].question):
            entry = self._waiting[0]
            try:
                work = self._lane.submit(entry.frame, entry.question)
            except QueueFull as full:
                if time.monotonic() - entry.since > self._patience:
                    self._waiting.popleft()
                    entry.outcome.set_result(self._failed(entry, full))
                    continue
                self._again.join(entry.source, self, self._ask)
                return False
            except Exception as error:  # nothing more can be answered here
                self._waiting.popleft()
                entry.outcome.set_exception(error)
                return True
            self._waiting.popleft()
            self._at_work.add(entry)
            entry.work = asyncio.wrap_future(work, loop=self._loop)
            entry.work.add_done_callback(partial(self._worked, entry))
        return True

    def _worked(self, entry: _Entry, work: asyncio.Future[FrameAnswer]) -> None:
        self._at_work.discard(entry)
        error = None if work.cancelled() else work.exception()  # of which asyncio complains if nobody looks at it
        if work.cancelled() or entry.outcome.done():  # nobody waits any more
            entry.outcome.cancel()
            return
        if error is None:
            entry.outcome.set_result(work.result())
        elif isinstance(error, NotReady) and error.detail == GOING_DOWN:
            entry.outcome.set_exception(error)  # another worker can answer it
        else:
            entry.outcome.set_result(self._failed(entry, error))
        self._pump()

    def _failed(self, entry: _Entry, error: BaseException) -> FrameAnswer:
        if not isinstance(error, ServiceError):
            request = entry.question.request
            who = {"request_id": request.request_id, "key_id": request.owner or None}
            logger.error("a frame failed", error=type(error).__name__, exc_info=error, **who)
            error = unexpected()
        return FrameAnswer(entry.frame.id, entry.frame.timestamp_us, error=error)

    def _abandon(self) -> None:
        if self._waiting:
            self._again.leave(self._waiting[0].source, self)
        for entry in self._waiting:
            entry.outcome.cancel()
        self._waiting.clear()
        for entry in self._at_work:
            if entry.work is not None:
                entry.work.cancel()  # and `_worked` its outcome


def _width(question: StreamQuestion) -> int:
    """Frames that may be at work at a time."""
    limit = question.frames_in_flight
    return limit if question.drop_policy == "none" else min(limit, LATEST_AT_WORK)
