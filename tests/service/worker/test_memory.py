"""A job is gone with its answer: nothing waits for the collector to find it."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from concurrent.futures import CancelledError
from typing import Any

import pytest

from lexiseg_service.errors import ServiceError
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.worker.engine import Engine
from lexiseg_service.worker.job import Job
from tests.service.worker.gated_colours import SOON, GatedColours, ask, halves
from tests.waiting import until

REQUESTS = 300
AT_ONCE = 10


@pytest.fixture
def engine() -> Iterator[Engine]:
    made = Engine(GatedColours(), Settings.model_validate({"feature_cache_bytes": 0}), Metrics())
    yield made
    made.close(SOON)


@pytest.fixture
def _without_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def alive(kind: type[Any]) -> int:
    return sum(type(thing) is kind for thing in gc.get_objects())


def outcome(answer: Any) -> str:
    try:
        answer.result(SOON)
    except CancelledError:
        return "cancelled"
    except ServiceError:
        return "refused"
    return "answered"


@pytest.mark.usefixtures("_without_collector")
def test_jobs_are_gone_with_their_answers(engine: Engine) -> None:
    seen = {"answered": 0, "refused": 0, "cancelled": 0}

    for _ in range(REQUESTS // AT_ONCE):
        answers = [engine.submit(ask("red", image=b"no image" if n == 0 else halves("r", "b"))) for n in range(AT_ONCE)]
        answers[1].cancel()
        for answer in answers:
            seen[outcome(answer)] += 1
    del answer, answers

    assert seen["refused"] == REQUESTS // AT_ONCE
    assert seen["answered"] >= REQUESTS * 0.8
    # A thread of the engine may still be about to let go of the last one.
    until(lambda: alive(Job) == 0)
