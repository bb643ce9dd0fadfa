"""Frames of one stream through the engine, answered in their order by what the stream remembers."""

from __future__ import annotations

import time
import weakref
from concurrent.futures import Future, InvalidStateError
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from lexiseg_model.segmenter import Segmenter
from lexiseg_service.errors import InvalidValue
from lexiseg_service.question.messages import WorkerRequest
from lexiseg_service.question.stream_messages import FrameAnswer, StreamQuestion, VideoFrame
from lexiseg_service.worker.engine import Engine
from lexiseg_service.worker.job import Job
from lexiseg_service.worker.texts.cache import TextCache
from lexiseg_service.worker.video.state import StreamState
from lexiseg_service.worker.video.turns import Turns


@dataclass(frozen=True)
class _Submitted:
    number: int  # among the stream's frames that came to the engine
    frame: VideoFrame
    question: StreamQuestion
    answer: Future[FrameAnswer] = field(default_factory=Future)


class FrameLane:
    """Takes the frames of one stream to the engine.

    Image passes share batches with everybody else's and may end in any order; what needs the frames before happens in
    order, on the engine's own finish threads.
    """

    def __init__(self, engine: Engine, flow: str, deadline_seconds: float) -> None:
        self._engine = engine
        self._flow = flow
        self._deadline_seconds = deadline_seconds
        self._turns = Turns()
        self._submitted = 0
        self._state = StreamState()

    @property
    def nbytes(self) -> int:
        """Bytes that the stream remembers."""
        return self._state.nbytes

    def check(self, question: StreamQuestion) -> None:
        """Whether a stream can ask that.

        Raises:
            InvalidValue: the task is about one image.
        """
        if question.request.task == "everything":
            raise InvalidValue.of("task", "everything", "semantic, instance, panoptic or prompt in a stream")

    def submit(self, frame: VideoFrame, question: StreamQuestion) -> Future[FrameAnswer]:
        """Accepts the next frame; cancelling the future abandons it.

        Raises:
            QueueFull: the engine takes nothing at the moment; the frame may come again.
            ServiceError: the stream cannot go on here.
        """
        submitted = _Submitted(self._submitted, frame, question)
        job = self._engine.submit(self._request(frame, question), partial(self._render, submitted))
        self._submitted += 1
        job.add_done_callback(partial(self._missing, submitted))
        # Weakly: each would keep the other, and with it a frame and its answer. What is in flight, the engine holds.
        work = weakref.ref(job)
        submitted.answer.add_done_callback(partial(_abandon, work))
        return submitted.answer

    def _request(self, frame: VideoFrame, question: StreamQuestion) -> WorkerRequest:
        return replace(
            question.request,
            image=frame.image,
            image_id=None,
            size=frame.size,
            prompts=tuple(each.prompt for each in frame.follow),  # for the check whether they lie inside
            flow=self._flow,
            remember=False,
            deadline=time.monotonic() + self._deadline_seconds,
        )

    def _render(self, submitted: _Submitted, job: Job[Any], segmenter: Segmenter, cache: TextCache) -> None:
        """The engine's last stage. The frame before may not be there yet: then its thread answers this one, too."""
        # The engine takes the job for done and lets go of the model when this returns.
        model_hold = ExitStack()
        model_hold.enter_context(job.loaded.held())
        frame_job = replace(job, answer=submitted.answer)

        def work() -> None:
            with model_hold:
                if frame_job.abandoned:
                    return
                try:
                    frame_job.succeed(
                        self._state.answer(frame_job, segmenter, cache, submitted.question, submitted.frame)
                    )
                except Exception as error:
                    frame_job.fail(error)

        if not self._turns.bring(submitted.number, work):
            model_hold.close()

    def _missing(self, submitted: _Submitted, job: Future[None]) -> None:
        """The engine is done with a frame; one that did not come to be rendered leaves its turn to the next."""
        failure = None if job.cancelled() else job.exception()
        if failure is None and not job.cancelled():
            return

        def work() -> None:
            with suppress(InvalidStateError):
                if failure is None:
                    submitted.answer.cancel()
                else:
                    submitted.answer.set_exception(failure)

        self._turns.bring(submitted.number, work)


def _abandon(work: weakref.ref[Future[None]], answer: Future[FrameAnswer]) -> None:
    """A frame whose answer nobody waits for is not worked on."""
    job = work()
    if answer.cancelled() and job is not None:
        job.cancel()
