"""State of one stream (average, tracks, followed objects), and the answer to a frame by it."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import Any

from lexiseg_model.errors import OptionError
from lexiseg_model.features import Features
from lexiseg_model.segmenter import PromptMasks, Segmenter
from lexiseg_model.video.following import Follower, Sight, Start
from lexiseg_model.video.memory import VideoMemory
from lexiseg_service.errors import InvalidValue
from lexiseg_service.question.messages import FrameAnswer, StreamQuestion, VideoFrame, WorkerRequest
from lexiseg_service.worker.finish import render
from lexiseg_service.worker.job import Job
from lexiseg_service.worker.texts import TextCache


class StreamState:
    """Frames are answered one at a time; the caller keeps their order."""

    def __init__(self) -> None:
        # A frame whose deadline passes in its render lets the next one begin while it unwinds.
        self._guard = threading.Lock()
        self._memory = VideoMemory()
        self._follower = Follower()
        self._meaning: tuple[object, ...] | None = None
        self._reset = False  # reported in the next answer

    @property
    def nbytes(self) -> int:
        """Bytes held from frame to frame."""
        return self._memory.nbytes + self._follower.nbytes

    def answer(
        self, question: StreamQuestion, frame: VideoFrame, job: Job[Any], segmenter: Segmenter, cache: TextCache
    ) -> FrameAnswer:
        """Answer a frame from its job, which has its features."""
        with self._guard:
            self._adopt(question, segmenter.digest)
            if question.request.task == "prompt":
                return self._follow(job, segmenter, cache, frame)
            return self._segment(job, segmenter, cache, frame)

    def _segment(self, job: Job[Any], segmenter: Segmenter, cache: TextCache, frame: VideoFrame) -> FrameAnswer:
        assert job.plan is not None
        began = time.monotonic()
        try:
            self._reset |= self._memory.look(job.plan)
            looked = time.monotonic()
            answer, segmentation = render(job, segmenter, cache, self._memory.steady)
            rendered = time.monotonic()
            numbers = self._memory.follow(segmentation)
        except Exception:
            self._memory.forget()  # half of this frame may be in the average
            self._reset = True
            raise
        state_ms = 1e3 * (looked - began + time.monotonic() - rendered)
        total = 1e3 * (time.monotonic() - job.accepted)
        timings = replace(answer.timings, post=answer.timings.post + state_ms, total=total)
        answer = replace(answer, timings=timings, image_id="")  # frames are not kept
        reset, self._reset = self._reset, False
        return FrameAnswer(frame.id, frame.timestamp_us, answer, state_reset=reset, track_ids=numbers)

    def _follow(self, job: Job[Any], segmenter: Segmenter, cache: TextCache, frame: VideoFrame) -> FrameAnswer:
        """Find the followed objects; the follower keeps what it saw even if rendering fails."""
        starts = [Start(each.track_id, each.prompt) for each in frame.follow]
        try:
            self._follower.check(starts, frame.unfollow)
        except OptionError as error:
            raise InvalidValue.of("frame.follow", f"{len(starts)} objects", str(error)) from None
        sights: list[Sight] = []

        def follow(segmenter: Segmenter, features: Features) -> list[PromptMasks | None]:
            sights.extend(self._follower.step(segmenter, features, starts, frame.unfollow))
            return [sight.mask for sight in sights]

        answer, _ = render(job, segmenter, cache, follow=follow)
        matched = [sights[segment.prompt_index or 0] for segment in answer.segments]
        segments = tuple(
            replace(segment, prompt_index=sight.start) for segment, sight in zip(answer.segments, matched, strict=True)
        )
        timings = replace(answer.timings, total=1e3 * (time.monotonic() - job.accepted))
        reset, self._reset = self._reset, False
        return FrameAnswer(
            frame.id,
            frame.timestamp_us,
            replace(answer, segments=segments, timings=timings, image_id=""),
            state_reset=reset,
            track_ids=tuple(sight.number for sight in matched),
            lost=tuple(sight.number for sight in sights if sight.mask is None),
        )

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
    """Values that must not change for frames to be comparable; followed objects may get other labels.

    What is remembered of a followed object are features of the weights with this digest.
    """
    if request.task == "prompt":
        return (request.model, request.task, request.max_side, digest)
    return (request.model, request.task, request.vocabulary, request.refine, request.max_side)
