"""Several clients on one engine do not delay each other."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lexiseg_service.errors import DeadlineExceeded, QueueFull
from lexiseg_service.question.messages import WorkerAnswer, WorkerRequest
from lexiseg_service.worker.engine import THREADS
from lexiseg_service.worker.job import Job
from lexiseg_service.worker.texts import CHUNK
from tests.service.worker.engine.bench import Bench as EngineBench
from tests.service.worker.gated_colours import GatedColours, ask
from tests.waiting import SOON, until


class SlowTower(GatedColours):
    """Colours whose text tower wants a permit for each chunk that has a strange word in it."""

    def __init__(self) -> None:
        super().__init__()
        self.permits = threading.Semaphore(0)
        self.chunks: list[list[str]] = []

    def encode_texts(self, texts: list[str]) -> NDArray[np.float16]:
        self.chunks.append(texts)
        if any(text.startswith("strange") for text in texts):
            assert self.permits.acquire(timeout=SOON)
        return super().encode_texts(texts)


class Bench(EngineBench):
    """An engine over a slow tower."""

    segmenter: SlowTower

    def __init__(self, **settings: Any) -> None:
        super().__init__(SlowTower(), **settings)

    def ask(self, source: str, *classes: str, **options: Any) -> Future[WorkerAnswer]:
        return self.engine.submit(ask(*classes, source=source, **options))

    def ask_much(self, source: str, n_chunks: int) -> Future[WorkerAnswer]:
        """With so many chunks of words that nobody has asked for."""
        return self.ask(source, *(f"strange {source} {n}" for n in range(n_chunks * CHUNK)))

    def until_chunks(self, n: int) -> None:
        until(lambda: len(self.segmenter.chunks) >= n)

    def misses(self) -> float | None:
        """Words that were looked up and not found in memory."""
        labels = {"tier": "l1", "result": "miss"}
        return self.metrics.registry.get_sample_value("lexiseg_text_cache_total", labels)

    def metric(self, name: str, stage: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, {"stage": stage})


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.segmenter.permits.release(1000)
    made.close()


def labels(answer: Future[WorkerAnswer]) -> list[str | None]:
    return [segment.label for segment in answer.result(SOON).segments]


def test_known_words_do_not_wait_for_new_words_of_others(bench: Bench) -> None:
    assert labels(bench.ask("modest", "red")) == ["red"]
    hostile = [bench.ask_much(source, 5) for source in ("hostile 1", "hostile 2")]
    bench.until_chunks(1)

    assert [labels(bench.ask("modest", "red")) for _ in range(5)] == [["red"]] * 5
    assert not any(answer.done() for answer in hostile)


def test_a_few_new_words_wait_for_a_chunk_of_many_at_most(bench: Bench) -> None:
    hostile = [bench.ask_much(source, 9) for source in ("hostile 1", "hostile 2")]
    bench.until_chunks(1)

    modest = bench.ask("modest", "blue", "green")
    until(lambda: bench.misses() == 18 * CHUNK + 2)  # all have been looked up in memory
    for n_chunks in range(2, 9):  # fewer than one of the others needs
        bench.segmenter.permits.release()
        until(lambda n=n_chunks: modest.done() or len(bench.segmenter.chunks) >= n)  # type: ignore[misc]

    assert labels(modest) == ["blue"]
    assert not any(answer.done() for answer in hostile)


def test_two_long_lists_of_two_clients_alternate(bench: Bench) -> None:
    first, second = bench.ask_much("first", 4), bench.ask_much("second", 4)
    bench.until_chunks(1)
    until(lambda: bench.metric("lexiseg_stage_waiting", "text") == 1)
    bench.segmenter.permits.release(100)
    assert len(first.result(SOON).absent) == len(second.result(SOON).absent) == 4 * CHUNK

    whose = ["first" in chunk[0] for chunk in bench.segmenter.chunks]
    assert whose[0] != whose[1]
    assert sum(one != other for one, other in pairwise(whose)) >= 2


def test_a_keys_hits_are_of_texts_that_it_sent_itself(bench: Bench) -> None:
    def counted(owner: str, *classes: str) -> tuple[int, int]:
        cache = bench.ask("", *classes, owner=owner).result(SOON).cache
        return cache.text_hits, cache.text_misses

    assert counted("neighbour", "red", "blue") == (0, 2)
    assert counted("mine", "red", "green") == (0, 2)
    assert counted("mine", "red", "blue") == (1, 1)
    assert counted("mine", "blue") == (1, 0)


def held(bench: Bench, count: int) -> tuple[list[Future[None]], threading.Event]:
    """Answers whose last work, begun on every thread, goes on when the event is set."""
    gate, begun = threading.Event(), threading.Semaphore(0)

    def hold(_: Job[None]) -> None:
        begun.release()
        assert gate.wait(SOON)

    answers = [bench.engine.submit(ask("red", source=f"{n}"), hold) for n in range(count)]
    for _ in range(min(count, THREADS + 1)):
        assert begun.acquire(timeout=SOON)
    return answers, gate


def test_work_waiting_for_a_thread_shows_in_the_metrics() -> None:
    bench = Bench(deadline_seconds=0.1)
    answers, gate = held(bench, THREADS + 3)
    until(lambda: bench.metric("lexiseg_stage_waiting", "decode-post") == 2)

    assert (bench.metric("lexiseg_stage_longest_wait_seconds", "decode-post") or 0) > 0
    until(lambda: bench.engine.degraded == ("finish queue",))
    gate.set()
    for answer in answers:
        answer.result(SOON)
    bench.engine.close(SOON)


def test_words_encoded_before_the_deadline_are_kept_for_the_next_request(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lexiseg_service.worker.text_stage.RESERVE", 1.0)  # the deadline is near at once
    bench.segmenter.permits.release(1000)
    words = [f"strange {n}" for n in range(3 * CHUNK)]

    def ask_for_all() -> Future[WorkerAnswer]:
        return bench.ask("x", *words, deadline=time.monotonic() + 100 * SOON)

    for n_chunks in (1, 2):
        with pytest.raises(QueueFull, match=rf"{n_chunks * CHUNK} of {3 * CHUNK} texts .* encoded and kept") as refused:
            ask_for_all().result(SOON)
        assert refused.value.headers["Retry-After"] == "1"

    assert ask_for_all().result(SOON).cache.text_misses == CHUNK
    assert len(bench.segmenter.chunks) == 3  # none was read twice


def test_a_list_of_several_chunks_is_answered_before_a_far_deadline(bench: Bench) -> None:
    bench.segmenter.permits.release(1000)
    words = [f"strange {n}" for n in range(3 * CHUNK)]

    answer = bench.ask("x", *words, deadline=time.monotonic() + 100 * SOON).result(SOON)

    assert answer.cache.text_misses == 3 * CHUNK


def test_a_request_that_would_miss_its_deadline_is_refused_with_retry_after(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = SimpleNamespace(monotonic=lambda: time.monotonic() + 200.0)  # as if an answer had taken 200 seconds
    monkeypatch.setattr("lexiseg_service.worker.job.time", slow)
    bench.ask("busy", "red").result(SOON)
    until(lambda: bench.engine.in_flight == 0)
    bench.segmenter.gate.clear()
    accepted: list[Future[WorkerAnswer]] = []

    def ask_in_a_hurry(source: str) -> WorkerRequest:
        return ask("red", source=source, deadline=time.monotonic() + 2000.0)

    def ask_until_refused() -> None:
        while len(accepted) < 20:
            accepted.append(bench.engine.submit(ask_in_a_hurry("busy")))

    with pytest.raises(QueueFull, match=r"the deadline is in \d{4} seconds") as refused:
        ask_until_refused()

    assert accepted
    assert int(refused.value.headers["Retry-After"]) >= 1
    bench.engine.submit(ask_in_a_hurry("modest")).cancel()
    for answer in accepted:
        answer.cancel()


def test_a_request_that_does_not_begin_in_half_of_its_time_is_refused(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, gate = held(bench, THREADS + 1)
    late = bench.ask("modest", "red", deadline=time.monotonic() + 300.0)
    until(lambda: bench.metric("lexiseg_stage_waiting", "decode-post") == 1)
    slow = SimpleNamespace(monotonic=lambda: time.monotonic() + 200.0)
    monkeypatch.setattr("lexiseg_service.worker.job.time", slow)
    gate.set()

    with pytest.raises(QueueFull, match="waited for 200 seconds") as refused:
        late.result(SOON)
    assert int(refused.value.headers["Retry-After"]) >= 1


def test_after_a_missed_deadline_a_second_request_is_refused_instead_of_missing_its_own(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask_in_a_hurry(seconds: float) -> Future[WorkerAnswer]:
        return bench.ask("busy", "red", deadline=time.monotonic() + seconds)

    bench.segmenter.gate.clear()
    late = ask_in_a_hurry(100.0)
    with monkeypatch.context() as patch:
        later = SimpleNamespace(monotonic=lambda: time.monotonic() + 200.0)
        patch.setattr("lexiseg_service.worker.job.time", later)
        bench.segmenter.gate.set()
        with pytest.raises(DeadlineExceeded):
            late.result(SOON)
        until(lambda: bench.engine.in_flight == 0)
    bench.segmenter.gate.clear()
    accepted = ask_in_a_hurry(2000.0)

    with pytest.raises(QueueFull, match="the deadline is in"):  # which is sooner than the first one took
        ask_in_a_hurry(100.0)

    accepted.cancel()


def test_a_client_gets_a_place_when_another_has_filled_the_queue() -> None:
    bench = Bench(queue_limit=4)
    bench.segmenter.gate.clear()
    for _ in range(4):
        bench.ask("busy", "red")
    with pytest.raises(QueueFull, match="holds 4 requests") as refusal:
        bench.ask("busy", "red")
    assert int(refusal.value.headers["Retry-After"]) >= 1

    modest = bench.ask("modest", "red")
    bench.segmenter.gate.set()

    assert labels(modest) == ["red"]
    bench.engine.close(SOON)


def test_a_request_in_the_background_waits_until_no_other_waits_for_the_device() -> None:
    bench = EngineBench(device="cpu")
    bench.hold()
    order: list[str] = []
    names = ("background", "u", "v", "w", "x", "y")
    requests = [ask("red", background=True), *(ask("red", source=name) for name in names[1:])]
    for name, answer in zip(names, bench.line_up(*requests), strict=True):
        answer.add_done_callback(lambda _, name=name: order.append(name))  # type: ignore[misc]
    bench.release()

    until(lambda: len(order) == len(names))
    assert order.index("background") >= len(names) - 2  # an image a core: the last of the others may still run
    bench.close()


def test_requests_in_the_background_take_no_place_of_others() -> None:
    bench = EngineBench(queue_limit=4)
    bench.hold()
    bench.submit(ask("red", background=True))

    with pytest.raises(QueueFull, match="requests in the background"):
        bench.submit(ask("red", background=True))

    for _ in range(3):
        bench.submit(ask("red"))
    bench.close()
