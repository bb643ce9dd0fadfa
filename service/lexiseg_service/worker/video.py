"""Video streams in the worker: backpressure, dropped frames, the state of a stream, and answers in order.

    steps -> read -> waiting -> engine (at work), state -> queue of outcomes -> answers

Drop policies:
none     nothing is read while `frames_in_flight` frames are unanswered, so the sender has to wait
latest   frames are read as they come; a waiting frame is dropped when the next one comes
"""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from concurrent.futures import Future
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any
from weakref import WeakValueDictionary

import structlog
from prometheus_client import Counter

from lexiseg_model.abilities import PromptMasks
from lexiseg_model.errors import OptionError
from lexiseg_model.features import Features
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.video.following import Follower, Sight, Start
from lexiseg_model.video.memory import VideoMemory
from lexiseg_service.errors import InvalidValue, MalformedRequest, NotReady, QueueFull, ServiceError, unexpected
from lexiseg_service.question.messages import WorkerAnswer, WorkerRequest
from lexiseg_service.question.streams import FrameAnswer, StreamQuestion, VideoFrame
from lexiseg_service.settings import Settings
from lexiseg_service.shares import CLIENT_SHARE, Shares
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.worker.engine import Engine
from lexiseg_service.worker.finish import render_frame
from lexiseg_service.worker.job import Job
from lexiseg_service.worker.models.pool import GOING_DOWN

logger = structlog.get_logger("lexiseg.video")
# With `latest`: one frame in the image pass and one behind it keep the device busy; further ones would only get stale.
MAX_LATEST_AT_WORK = 2
MAX_UNANSWERED = 64  # frames of a stream with `latest`, most of them dropped; beyond it nothing more is read
SUBMIT_SECONDS = 0.02  # between two attempts to submit a frame to a full engine
MAX_STREAMS = 64  # open at a time


@dataclass(eq=False)
class _Entry:
    """A frame on its way; `outcome` is set once, to an exception when the stream ends there."""

    frame: VideoFrame
    question: StreamQuestion
    outcome: asyncio.Future[FrameAnswer]
    since: float = field(default_factory=time.monotonic)


class Session:
    """Runs one stream; a frame has `seconds`. With the client's `lock` one of its streams at a time asks the engine."""

    def __init__(
        self, engine: Engine, question: StreamQuestion, seconds: float, lock: asyncio.Lock, frames: Counter
    ) -> None:
        self.state = StreamState()
        self._engine = engine
        self._question = question
        self._frame_seconds = seconds
        self._lock = lock
        self._frames = frames
        self._flow = f"stream:{uuid.uuid4().hex}"
        self._loop = asyncio.get_running_loop()
        self._outcomes: asyncio.Queue[_Entry | None] = asyncio.Queue()  # None: the steps have ended
        self._waiting: deque[_Entry] = deque()  # not submitted yet
        self._at_work: dict[_Entry, asyncio.Future[FrameAnswer]] = {}
        self._changed = asyncio.Event()  # frames wait, or one at work has ended
        self._last: Future[FrameAnswer] | None = None  # submitted last, while it is at work
        self._unanswered = 0
        self._answer_event = asyncio.Event()

    async def answers(self, steps: AsyncIterator[StreamQuestion | VideoFrame]) -> AsyncGenerator[FrameAnswer, None]:
        """Yield one answer for each frame, in order; `steps` are frames, and questions that replace the one before."""
        reading = asyncio.create_task(self._read(steps))
        submitting = asyncio.create_task(self._submit_waiting())
        try:
            while (entry := await self._outcomes.get()) is not None:
                answer = await entry.outcome
                self._frames.labels("dropped" if answer.dropped else "ok" if answer.error is None else "error").inc()
                yield answer
                del entry, answer  # otherwise a client that stops reading keeps a frame in memory
                self._unanswered -= 1
                self._answer_event.set()
            await reading  # raises what the steps raised
        finally:
            reading.cancel()
            submitting.cancel()
            self._abandon()
            await asyncio.gather(reading, submitting, return_exceptions=True)

    async def _read(self, steps: AsyncIterator[StreamQuestion | VideoFrame]) -> None:
        try:
            async for step in steps:
                self._accept(step)
                del step
                await asyncio.sleep(0)  # the frame is submitted, if there is room, before the next one may drop it
                while self._unanswered >= self._max_unanswered:
                    self._answer_event.clear()
                    await self._answer_event.wait()
        finally:
            self._outcomes.put_nowait(None)

    @property
    def _max_unanswered(self) -> int:
        return self._question.frames_in_flight if self._question.drop_policy == "none" else MAX_UNANSWERED

    def _accept(self, step: StreamQuestion | VideoFrame) -> None:
        if isinstance(step, StreamQuestion):
            self._question = step
            return
        if self._question.drop_policy == "latest":
            while self._waiting:
                stale = self._waiting.popleft()
                step = step.after(stale.frame)
                stale.outcome.set_result(FrameAnswer(stale.frame.id, stale.frame.timestamp_us, dropped=True))
        entry = _Entry(step, self._question, self._loop.create_future())
        self._unanswered += 1
        self._outcomes.put_nowait(entry)
        self._waiting.append(entry)
        self._changed.set()

    async def _submit_waiting(self) -> None:
        while True:
            while not self._waiting or len(self._at_work) >= _max_at_work(self._waiting[0].question):
                self._changed.clear()
                await self._changed.wait()
            async with self._lock:
                while self._waiting and not self._submit(self._waiting[0]):
                    await asyncio.sleep(SUBMIT_SECONDS)

    def _submit(self, entry: _Entry) -> bool:
        """Submit the first waiting frame; False if the engine is full and it may try again."""
        frame, question = entry.frame, entry.question
        request = replace(
            question.request,
            image=frame.image,
            image_id=None,
            header=frame.header,
            prompts=tuple(each.prompt for each in frame.follow),  # checked to lie inside the image
            flow=self._flow,
            remember=False,
            deadline=time.monotonic() + self._frame_seconds,
        )
        try:
            work = self._engine.submit(request, partial(self.state.answer, question, frame), self._last)
        except QueueFull as full:
            if time.monotonic() - entry.since <= self._frame_seconds:
                return False
            entry.outcome.set_result(self._failed(entry, full))
        except Exception as error:  # the stream cannot go on here
            entry.outcome.set_exception(error)
        else:
            self._last = work
            self._at_work[entry] = future = asyncio.wrap_future(work, loop=self._loop)
            future.add_done_callback(partial(self._on_result, entry, work))
        self._waiting.popleft()
        return True

    def _on_result(self, entry: _Entry, work: Future[Any], future: asyncio.Future[FrameAnswer]) -> None:
        del self._at_work[entry]
        self._changed.set()
        if self._last is work:
            self._last = None
        error = None if future.cancelled() else future.exception()  # asyncio logs an exception that is never retrieved
        if future.cancelled() or entry.outcome.done():
            entry.outcome.cancel()
        elif error is None:
            entry.outcome.set_result(future.result())
        elif isinstance(error, NotReady) and error.detail == GOING_DOWN:
            entry.outcome.set_exception(error)  # another worker can answer it
        else:
            entry.outcome.set_result(self._failed(entry, error))

    def _failed(self, entry: _Entry, error: BaseException) -> FrameAnswer:
        if not isinstance(error, ServiceError):
            request = entry.question.request
            log_fields = {"request_id": request.request_id, "key_id": request.owner or None}
            logger.error("a frame failed", error=type(error).__name__, exc_info=error, **log_fields)
            error = unexpected()
        return FrameAnswer(entry.frame.id, entry.frame.timestamp_us, error=error)

    def _abandon(self) -> None:
        for entry in self._waiting:
            entry.outcome.cancel()
        self._waiting.clear()
        for work in self._at_work.values():
            work.cancel()  # which cancels the outcome in `_on_result`


def _max_at_work(question: StreamQuestion) -> int:
    limit = question.frames_in_flight
    return limit if question.drop_policy == "none" else min(limit, MAX_LATEST_AT_WORK)


class Streams:
    def __init__(self, engine: Engine, settings: Settings, metrics: Metrics) -> None:
        self._engine = engine
        self._settings = settings
        self._metrics = metrics
        self._places = Shares("video streams", MAX_STREAMS, CLIENT_SHARE)
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()  # by client
        self._open: set[Session] = set()
        metrics.streams.set_function(lambda: len(self._open))
        metrics.watch_cache("streams", lambda: sum(session.state.nbytes for session in tuple(self._open)))

    async def answers(self, steps: AsyncIterator[StreamQuestion | VideoFrame]) -> AsyncGenerator[FrameAnswer, None]:
        """Run one stream, as `Backend.stream` describes it. It takes a place once its config has come."""
        question = await anext(steps, None)
        if question is None:
            return
        if isinstance(question, VideoFrame):
            raise MalformedRequest("the first message of a stream is a frame; expected a config")
        client = question.request.source
        with self._places.take(client):
            lock = self._locks.setdefault(client, asyncio.Lock())
            session = Session(self._engine, question, self._settings.deadline_seconds, lock, self._metrics.frames)
            self._open.add(session)
            try:
                async with aclosing(session.answers(steps)) as answers:
                    async for answer in answers:
                        yield answer
            finally:
                self._open.discard(session)


class StreamState:
    """Frames are answered one at a time; the caller keeps their order."""

    def __init__(self) -> None:
        # A frame with a deadline that passes in its render lets the next one begin while it unwinds.
        self._guard = threading.Lock()
        self._memory = VideoMemory()
        self._follower = Follower()
        self._meaning: tuple[object, ...] | None = None
        self._reset = False  # reported in the next answer

    @property
    def nbytes(self) -> int:
        return self._memory.nbytes + self._follower.nbytes

    def answer(self, question: StreamQuestion, frame: VideoFrame, job: Job[Any]) -> FrameAnswer:
        """Answer a frame from its job, which has its features."""
        with self._guard:
            self._adopt(question, job.loaded.segmenter.digest)
            missing: tuple[int, ...] = ()
            if question.request.task == "prompt":
                answer, missing = self._follow(job, frame)
            else:
                answer = self._segment(job)
            reset, self._reset = self._reset, False
        timings = replace(answer.timings_ms, total=1e3 * (time.monotonic() - job.accepted))
        answer = replace(answer, timings_ms=timings, image_id="")  # frames are not kept
        return FrameAnswer(frame.id, frame.timestamp_us, answer, state_reset=reset, lost=missing)

    def _segment(self, job: Job[Any]) -> WorkerAnswer:
        began = time.monotonic()
        try:
            self._reset |= self._memory.look(job.plan)
            looked = time.monotonic()
            answer, segmentation = render_frame(job, self._memory.steady)
            rendered = time.monotonic()
            numbers = self._memory.follow(segmentation)
        except Exception:
            self._memory.forget()  # half of this frame may be in the average
            self._reset = True
            raise
        state_ms = 1e3 * (looked - began + time.monotonic() - rendered)
        timings = replace(answer.timings_ms, post=answer.timings_ms.post + state_ms)
        answer = replace(answer, timings_ms=timings)
        if not numbers:
            return answer
        numbered = zip(answer.segments, numbers, strict=True)
        return replace(answer, segments=tuple(replace(segment, track_id=number) for segment, number in numbered))

    def _follow(self, job: Job[Any], frame: VideoFrame) -> tuple[WorkerAnswer, tuple[int, ...]]:
        """Find the followed objects, and the numbers of lost ones; keeps what it saw even if rendering fails."""
        starts = [Start(each.track_id, each.prompt) for each in frame.follow]
        try:
            self._follower.check(starts, frame.unfollow)
        except OptionError as error:
            raise InvalidValue.of("frame.follow", f"{len(starts)} objects", str(error)) from None
        sights: list[Sight] = []

        def follow(segmenter: Segmenter, features: Features) -> list[PromptMasks | None]:
            sights.extend(self._follower.step(segmenter, features, starts, frame.unfollow))
            return [sight.mask for sight in sights]

        answer, _ = render_frame(job, follow=follow)
        matched = [sights[segment.prompt_index or 0] for segment in answer.segments]
        segments = tuple(
            replace(segment, prompt_index=sight.start, track_id=sight.number)
            for segment, sight in zip(answer.segments, matched, strict=True)
        )
        missing = tuple(sight.number for sight in sights if sight.mask is None)
        return replace(answer, segments=segments), missing

    def _adopt(self, question: StreamQuestion, digest: str) -> None:
        meaning = _meaning(question.request, digest)
        if self._meaning is None:
            self._reset = question.resumed
        elif meaning != self._meaning:
            self._memory.forget()
            self._follower.forget()
            self._reset = True
        self._meaning = meaning
        self._memory.adjust(question.smoothing, tracking=question.tracking)


def _meaning(request: WorkerRequest, digest: str) -> tuple[object, ...]:
    """Values that must not change for frames to be comparable; features of followed objects are of these weights."""
    if request.task == "prompt":
        return (request.model, request.task, request.max_side, digest)
    return (request.model, request.task, request.vocabulary, request.refine, request.max_side)
