"""A locust user of the gRPC interface: one video stream after another, at a camera's frame rate."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from itertools import cycle, islice
from typing import Any

import gevent
from locust import User, task
from locust.runners import STATE_CLEANUP, STATE_STOPPED, STATE_STOPPING

from lexiseg_client import Frame, FrameAnswer, LexisegError
from loadtests.checks import fault_of
from loadtests.load import LOAD

ENDING = (STATE_STOPPING, STATE_STOPPED, STATE_CLEANUP)
DROPPED = "SegmentVideo frame, dropped"


class VideoUser(User):
    """Streams frames with tracking and smoothing; a frame's time counts from when gRPC takes it."""

    weight = 1

    def on_start(self) -> None:
        """Connect."""
        self._chance = random.Random(LOAD.next_seed())
        self._client = LOAD.client()

    def on_stop(self) -> None:
        """Disconnect."""
        self._client.close()

    @task
    def watch(self) -> None:
        """Send one stream and count its answers."""
        classes = self._chance.choice(LOAD.class_lists)
        name = f"SegmentVideo frame, {len(classes)} classes"
        handed_over: dict[str, float] = {}
        began = time.perf_counter()
        try:
            for answer in self._client.stream(
                self._frames(handed_over),
                classes,
                background=False,
                tracking=True,
                smoothing=0.5,
                drop_policy=LOAD.drop,
            ):
                waited = time.perf_counter() - handed_over.pop(answer.frame_id)
                if answer.dropped:
                    self._count(DROPPED, waited, None)
                else:
                    self._count(name, waited, self._fault_of(answer, classes))
        except LexisegError as error:
            self._count("SegmentVideo", time.perf_counter() - began, error)
            gevent.sleep(1)

    def _frames(self, handed_over: dict[str, float]) -> Iterator[Frame]:
        """Frames at the frame rate; with a rate of 0, as fast as they are taken."""
        pause = 1 / LOAD.frames_per_second if LOAD.frames_per_second else 0.0
        due = time.perf_counter()
        for index, image in enumerate(islice(cycle(LOAD.frames), LOAD.frames_per_stream)):
            if self.environment.runner is None or self.environment.runner.state in ENDING:
                return  # frames already sent are still answered
            due += pause
            gevent.sleep(max(0.0, due - time.perf_counter()))
            handed_over[str(index)] = time.perf_counter()
            yield Frame(image, timestamp_us=int(1e6 * due), id=str(index))

    def _fault_of(self, answer: FrameAnswer, classes: list[str]) -> Exception | None:
        if answer.error is not None:
            return answer.error
        if answer.answer is None:
            return RuntimeError("expected segments, an error or `dropped`; got none of them")
        if self._chance.random() >= LOAD.check:
            return None
        try:
            fault = fault_of(answer.answer, classes, covers=True)
        except LexisegError as error:
            fault = str(error)
        LOAD.checked.note(fault)
        return None if fault is None else RuntimeError(f"wrong answer: {fault}")

    def _count(self, name: str, seconds: float, error: Exception | None) -> None:
        fired: dict[str, Any] = {
            "request_type": "gRPC",
            "name": name,
            "response_time": 1e3 * seconds,
            "response_length": 0,
            "exception": error,
            "context": {},
        }
        self.environment.events.request.fire(**fired)
