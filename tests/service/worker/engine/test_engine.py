from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from lexiseg_model.features import TileFeatures
from lexiseg_service.errors import DeadlineExceeded, NotReady, QueueFull, UndecodableImage
from lexiseg_service.image.id import HASHED_AT_ONCE
from lexiseg_service.question.messages import WorkerAnswer, WorkerRequest
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.worker.engine import Engine
from lexiseg_service.worker.job import FEW, Waiting
from lexiseg_service.worker.threads import FairThreads
from tests.service.worker.gated_colours import SOON, GatedColours, ask, halves, until


class Bench:
    """An engine over gated colours, and how to ask it."""

    def __init__(self, **settings: int) -> None:
        self.segmenter = GatedColours()
        self.metrics = Metrics()
        # Nothing is remembered: every request is an image pass, and these tests count them.
        wanted = Settings.model_validate({"feature_cache_bytes": 0, **settings})
        self.engine = Engine(self.segmenter, wanted, self.metrics)
        self.submit = self.engine.submit

    def hold(self) -> None:
        """Occupies the device until the gate opens."""
        self.segmenter.gate.clear()
        self.submit(ask("red"))
        assert self.segmenter.entered.acquire(timeout=SOON)

    def until_waiting(self, n: int) -> None:
        """Waits until n planned requests wait for the device."""
        until(lambda: self.metrics.registry.get_sample_value("lexiseg_queue_depth") == n)

    def line_up(self, *requests: WorkerRequest) -> list[Future[WorkerAnswer]]:
        """Submits requests of which each waits for the device before the next comes: threads decode in any order."""
        answers = []
        for place, request in enumerate(requests, 1):
            answers.append(self.submit(request))
            self.until_waiting(place)
        return answers

    def release(self) -> None:
        self.segmenter.gate.set()


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.release()
    made.engine.close(SOON)


def test_each_class_gets_the_pixels_of_its_colour(bench: Bench) -> None:
    answer = bench.submit(ask("blue", "green", "red")).result(SOON)

    assert [(segment.label, segment.class_index, segment.bbox) for segment in answer.segments] == [
        ("blue", 0, (8, 0, 8, 16)),
        ("red", 2, (0, 0, 8, 16)),
    ]


def test_the_same_bytes_have_the_same_image_id(bench: Bench) -> None:
    ids = [bench.submit(ask(colour)).result(SOON).image_id for colour in ("red", "blue")]
    other = bench.submit(ask("red", image=halves("g", "b"))).result(SOON).image_id

    assert ids[0] == ids[1] != other


def test_requests_with_different_class_lists_share_an_image_pass(bench: Bench) -> None:
    bench.hold()
    answers = [bench.submit(ask(*classes)) for classes in (["red"], ["blue"], ["green", "red"])]
    bench.until_waiting(3)
    bench.release()

    labels = [[segment.label for segment in answer.result(SOON).segments] for answer in answers]

    assert labels == [["red"], ["blue"], ["red"]]
    assert bench.segmenter.batches == [1, 3]


def test_an_image_pass_has_no_more_tiles_than_it_may() -> None:
    bench = Bench(max_batch=2)
    bench.hold()
    answers = [bench.submit(ask("red")) for _ in range(5)]
    bench.until_waiting(5)
    bench.release()

    for answer in answers:
        answer.result(SOON)
    bench.engine.close(SOON)

    assert bench.segmenter.batches == [1, 2, 2, 1]


def test_images_of_another_shape_wait_for_their_own_pass() -> None:
    bench = Bench()
    bench.hold()
    answers = bench.line_up(*(ask("red", image=halves("r", "b", side)) for side in (16, 32, 16)))
    bench.release()

    sizes = [answer.result(SOON).size for answer in answers]
    bench.engine.close(SOON)

    assert sizes == [(16, 16), (32, 32), (16, 16)]
    assert bench.segmenter.batches == [1, 2, 1]


def test_a_damaged_image_fails_its_own_request_alone(bench: Bench) -> None:
    bench.hold()
    good = [bench.submit(ask("red")), bench.submit(ask("blue"))]
    bad = bench.submit(ask("red", image=halves("r", "b")[:60]))
    bench.until_waiting(2)
    bench.release()

    assert isinstance(bad.exception(SOON), UndecodableImage)
    assert [len(answer.result(SOON).segments) for answer in good] == [1, 1]


def test_after_an_image_pass_has_failed_the_next_request_is_served(bench: Bench) -> None:
    bench.segmenter.failures.append(RuntimeError("the device is gone"))

    failed = bench.submit(ask("red")).exception(SOON)
    answer = bench.submit(ask("red")).result(SOON)

    assert isinstance(failed, RuntimeError)
    assert len(answer.segments) == 1


def test_cancelled_work_never_reaches_the_device(bench: Bench) -> None:
    bench.hold()
    abandoned = bench.submit(ask("red"))
    bench.until_waiting(1)

    assert abandoned.cancel()
    bench.release()
    bench.submit(ask("blue")).result(SOON)

    assert sum(bench.segmenter.batches) == 2


def test_expired_work_never_reaches_the_device(bench: Bench) -> None:
    expired = bench.submit(ask("red", deadline=time.monotonic() - 1))

    assert isinstance(expired.exception(SOON), DeadlineExceeded)
    assert bench.segmenter.batches == []


def test_work_that_expires_while_it_waits_is_dropped(bench: Bench) -> None:
    bench.hold()
    deadline = time.monotonic() + 0.5
    waiting = bench.submit(ask("red", deadline=deadline))
    until(lambda: time.monotonic() > deadline)
    bench.release()

    assert isinstance(waiting.exception(SOON), DeadlineExceeded)
    assert bench.segmenter.batches == [1]


def test_work_that_is_given_up_while_its_batch_is_halved_costs_no_pass(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.segmenter.most_tiles = 1
    bench.hold()
    stays, left = bench.line_up(ask("red"), ask("blue"))
    encode = bench.segmenter.encode_tiles

    def encode_and_leave(tiles: NDArray[np.uint8]) -> TileFeatures:
        if bench.segmenter.batches == [1, 2]:  # the first half is under way
            left.cancel()
        return encode(tiles)

    monkeypatch.setattr(bench.segmenter, "encode_tiles", encode_and_leave)
    bench.release()
    stays.result(SOON)
    bench.submit(ask("green")).result(SOON)

    assert bench.segmenter.batches == [1, 2, 1, 1]


def test_a_full_queue_refuses_at_once() -> None:
    bench = Bench(queue_limit=2)
    bench.hold()
    bench.submit(ask("red"))

    with pytest.raises(QueueFull, match="2 requests are in flight") as refusal:
        bench.submit(ask("red"))

    assert int(refusal.value.headers["Retry-After"]) >= 1
    bench.release()
    bench.engine.close(SOON)


def test_a_place_in_the_queue_is_free_once_an_answer_is_out() -> None:
    bench = Bench(queue_limit=1)

    for _ in range(3):
        bench.submit(ask("red")).result(SOON)
        until(lambda: bench.engine.in_flight == 0)

    bench.engine.close(SOON)


def test_an_idle_hour_does_not_make_the_next_client_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    ahead = 0.0
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + ahead, sleep=time.sleep)
    monkeypatch.setattr("lexiseg_service.worker.engine.time", clock)
    bench = Bench(queue_limit=2, max_batch=1)
    bench.submit(ask("red")).result(SOON)
    until(lambda: bench.engine.in_flight == 0)

    ahead = 3600.0
    first, second = bench.submit(ask("red")), bench.submit(ask("red"))
    first.result(SOON), second.result(SOON)
    until(lambda: bench.engine.in_flight == 0)
    bench.hold()
    bench.submit(ask("red"))
    with pytest.raises(QueueFull) as refusal:
        bench.submit(ask("red"))

    assert int(refusal.value.headers["Retry-After"]) < 60
    bench.release()
    bench.engine.close(SOON)


def test_closing_answers_what_is_in_flight() -> None:
    bench = Bench()
    bench.hold()
    answer = bench.submit(ask("red"))
    with ThreadPoolExecutor(1) as threads:
        closing = threads.submit(bench.engine.close, SOON)
        bench.release()
        closing.result(SOON)

    assert answer.done()
    assert len(answer.result(0).segments) == 1


def test_what_closing_has_no_time_for_hears_of_it() -> None:
    bench = Bench(intake_threads=1)
    bench.hold()
    answers = [bench.submit(ask("red")) for _ in range(4)]
    with ThreadPoolExecutor(1) as threads:
        closing = threads.submit(bench.engine.close, 0.0)
        failures = [answer.exception(SOON) for answer in answers]
        bench.release()
        closing.result(SOON)

    assert [type(failure) for failure in failures] == [NotReady] * 4


def test_a_closed_engine_takes_nothing() -> None:
    bench = Bench()
    bench.engine.close(SOON)

    with pytest.raises(NotReady, match="going down"):
        bench.submit(ask("red"))


def test_an_overlay_is_painted_only_when_asked_for(bench: Bench) -> None:
    plain = bench.submit(ask("red")).result(SOON)
    painted = bench.submit(ask("red", overlay=True)).result(SOON)

    assert plain.overlay is None
    assert painted.overlay is not None
    assert Image.open(io.BytesIO(painted.overlay)).format == "PNG"


def test_pictures_that_wait_to_be_painted_on_have_a_bound_and_what_is_more_is_painted_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    of_one = 16 * 16 * 3  # bytes
    monkeypatch.setattr(Waiting.__init__, "__defaults__", (2 * of_one,))
    bench = Bench()

    def held() -> float | None:
        return bench.metrics.registry.get_sample_value("lexiseg_cache_bytes", {"cache": "pictures"})

    bench.hold()
    waiting = bench.line_up(*(ask("red", overlay=True) for _ in range(5)))
    assert held() == 2 * of_one
    waiting.pop().cancel(), waiting.pop(0).cancel()
    assert held() == of_one
    bench.release()

    assert len({answer.result(SOON).overlay for answer in waiting}) == 1
    until(lambda: held() == 0)


def test_a_text_is_encoded_once_for_all_requests(bench: Bench) -> None:
    for _ in range(3):
        bench.submit(ask("red", "blue")).result(SOON)
    again = bench.submit(ask("red", "green")).result(SOON)

    assert sorted(bench.segmenter.asked) == ["blue", "green", "red"]
    assert (again.cache.text_hits, again.cache.text_misses) == (1, 1)


def test_many_threads_get_each_their_own_answer() -> None:
    bench = Bench(queue_limit=200, max_batch=4)
    colours = ["red", "green", "blue"]
    images = {colour: halves(colour[0], "x") for colour in colours}

    def one(index: int) -> bool:
        shown, asked = colours[index % 3], colours[index // 3 % 3]
        answer = bench.submit(ask(asked, image=images[shown])).result(SOON)
        return [segment.label for segment in answer.segments] == ([asked] if asked == shown else [])

    with ThreadPoolExecutor(16) as threads:
        right = list(threads.map(one, range(180)))
    bench.engine.close(SOON)

    assert all(right)


def test_a_second_question_runs_no_image_pass() -> None:
    bench = Bench(feature_cache_bytes=1 << 20)
    first = bench.submit(ask("red")).result(SOON)

    second = bench.submit(ask("blue")).result(SOON)

    assert (first.cache.features, second.cache.features) == (False, True)
    assert bench.segmenter.batches == [1]
    bench.engine.close(SOON)


def test_a_batch_that_does_not_fit_the_memory_is_halved() -> None:
    bench = Bench()
    bench.segmenter.most_tiles = 2
    bench.hold()
    answers = [bench.submit(ask("red")) for _ in range(4)]
    bench.until_waiting(4)
    bench.release()

    for answer in answers:
        assert len(answer.result(SOON).segments) == 1
    assert bench.segmenter.batches == [1, 4, 2, 2]
    bench.engine.close(SOON)


def test_an_image_that_does_not_fit_the_memory_fails_alone() -> None:
    bench = Bench()
    bench.segmenter.most_tiles = 0

    assert isinstance(bench.submit(ask("red")).exception(SOON), NotReady)
    bench.segmenter.most_tiles = 8
    assert len(bench.submit(ask("red")).result(SOON).segments) == 1
    bench.engine.close(SOON)


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
