"""What takes a moment needs no thread of its own, unless others ask meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from lexiseg_service.image.id import HASHED_AT_ONCE
from lexiseg_service.question.messages import WorkerRequest
from lexiseg_service.worker.job import FEW
from lexiseg_service.worker.threads.fair import FairThreads
from tests.service.worker.engine.bench import Bench
from tests.service.worker.gated_colours import SOON, ask, halves, until


class Watched(FairThreads):
    """Threads that count what they are given."""

    given = 0

    def submit(self, source: str, work: Callable[[], None], *, large: bool = False) -> None:
        type(self).given += 1
        super().submit(source, work, large=large)


@pytest.mark.parametrize(
    ("question", "taken_in"),
    [
        ({}, 0),
        ({"overlay": True}, 2),  # paints every pixel
        ({"image": halves("r", "b") + bytes(HASHED_AT_ONCE)}, 1),  # whose id takes a while
        ({"classes": [f"class {index}" for index in range(FEW + 1)]}, 2),
    ],
)
def test_a_short_question_about_a_known_image_needs_no_thread_to_be_taken_in(
    monkeypatch: pytest.MonkeyPatch, question: dict[str, Any], taken_in: int
) -> None:
    options = {"classes": ["red"], **question}
    classes = options.pop("classes")
    known = Bench(feature_cache_bytes=10**7)
    intake = Watched("intake", 1)
    monkeypatch.setattr(Watched, "given", 0)
    image = options.get("image", halves("r", "b"))
    known.submit(ask("blue", image=image)).result(SOON)
    known.engine._intake.close()
    monkeypatch.setattr(known.engine, "_intake", intake)

    first = known.submit(ask(*classes, **{"image": image, **options})).result(SOON)
    by_id = known.submit(replace(ask(*classes, **options), image=None, image_id=first.image_id)).result(SOON)
    intake.close()
    known.engine.close(SOON)

    assert first.cache.features
    assert by_id.cache.features
    assert first.segments == by_id.segments
    assert Watched.given == taken_in


@pytest.mark.parametrize(
    ("question", "at_once"),
    [
        ({}, True),
        ({"mask": "none"}, True),
        ({"alone": False}, False),
        ({"mask": "png"}, False),
        ({"confidence": True}, False),
        ({"image": halves("b", "r")}, False),
        ({"classes": ["green"]}, False),  # which is not read yet
        ({"classes": ["red", "blue"] * FEW}, False),
    ],
)
def test_who_asks_alone_for_what_takes_a_moment_has_it_at_once(question: dict[str, Any], at_once: bool) -> None:
    options = {"classes": ["blue"], "alone": True, **question}
    asked = ask(*options.pop("classes"), **options)
    known = Bench(feature_cache_bytes=10**7)
    known.segmenter.passes_side_by_side = True  # what takes long is in the kernel

    def worker(request: WorkerRequest) -> threading.Thread:
        return known.submit(request, lambda *_: threading.current_thread()).result(SOON)

    first = ask("red", "blue", alone=True)
    assert worker(first) is not threading.current_thread()
    until(lambda: worker(first) is threading.current_thread())

    try:
        assert (worker(asked) is threading.current_thread()) == at_once
    finally:
        known.engine.close(SOON)


def test_who_asks_beside_others_waits_for_a_thread() -> None:
    known = Bench(feature_cache_bytes=10**7)
    known.segmenter.passes_side_by_side = True

    def worker() -> threading.Thread:
        return known.submit(ask("red", alone=True), lambda *_: threading.current_thread()).result(SOON)

    until(lambda: worker() is threading.current_thread())
    known.segmenter.gate.clear()
    other = known.submit(ask("red", image=halves("g", "b")))

    try:
        assert worker() is not threading.current_thread()
    finally:
        known.release()
        other.result(SOON)
        known.engine.close(SOON)
