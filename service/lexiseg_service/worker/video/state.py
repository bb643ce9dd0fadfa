"""What one stream remembers in the worker, and how it answers a frame with it."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from lexiseg_model.segmenter import Segmenter
from lexiseg_model.video.memory import VideoMemory
from lexiseg_service.question.messages import WorkerRequest
from lexiseg_service.question.stream_messages import FrameAnswer, StreamQuestion, VideoFrame
from lexiseg_service.worker.finish import render
from lexiseg_service.worker.job import Job
from lexiseg_service.worker.texts.cache import TextCache


class StreamState:
    """Frames are answered in order, one at a time."""

    def __init__(self) -> None:
        self._memory = VideoMemory()
        self._meaning: tuple[object, ...] | None = None
        self._reset = False  # the next answer says that state began anew

    @property
    def nbytes(self) -> int:
        """Bytes held from frame to frame."""
        return self._memory.nbytes

    def answer(
        self, job: Job[Any], segmenter: Segmenter, cache: TextCache, question: StreamQuestion, frame: VideoFrame
    ) -> FrameAnswer:
        """Answers a frame whose features are there."""
        assert job.plan is not None
        began = time.monotonic()
        self._adopt(question)
        try:
            self._reset |= self._memory.look(job.plan)
            looked = time.monotonic()
            answer, segmentation = render(job, segmenter, cache, self._memory.steady)
            rendered = time.monotonic()
            numbers = self._memory.follow(segmentation)
        except Exception:
            self._memory.forget()  # half of this frame may be in it
            self._reset = True
            raise
        beside = 1e3 * (looked - began + time.monotonic() - rendered)
        total = 1e3 * (time.monotonic() - job.accepted)
        timings = replace(answer.timings, post=answer.timings.post + beside, total=total)
        answer = replace(answer, timings=timings, image_id="")  # frames are not kept: there is nothing to ask again
        reset, self._reset = self._reset, False
        return FrameAnswer(frame.id, frame.timestamp_us, answer, state_reset=reset, track_ids=numbers)

    def _adopt(self, question: StreamQuestion) -> None:
        meaning = _meaning(question.request)
        if self._meaning is None:
            self._reset = question.resumed
        elif meaning != self._meaning:
            self._memory.forget()
            self._reset = True
        self._meaning = meaning
        self._memory.adjust(question.smoothing, tracking=question.tracking)


def _meaning(request: WorkerRequest) -> tuple[object, ...]:
    """What must not change for scores and segments to be comparable from frame to frame."""
    return (request.model, request.task, request.vocabulary, request.refine, request.max_side)
