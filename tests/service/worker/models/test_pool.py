"""Models come and go: on demand, within a budget, one load for all who ask."""

from __future__ import annotations

import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager

import pytest

from lexiseg_model.errors import WeightsError
from lexiseg_model.segmenter import Segmenter
from lexiseg_service.errors import NotReady, QueueFull, ServiceError, UnknownModel
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.worker.models.pool import Loaded, ModelPool
from lexiseg_service.worker.models.served import Served
from tests.model.stand_in import ColourSegmenter, card

SOON = 20.0  # seconds that nothing here should need
MODEL = 100  # bytes


class SizedColours(ColourSegmenter):
    """Colours that say how large they are."""

    def __init__(self, name: str, nbytes: int = MODEL) -> None:
        super().__init__()
        self.card = card(name=name)
        self.digest = name
        self._nbytes = nbytes

    @property
    def nbytes(self) -> int:
        return self._nbytes


class Shelf:
    """Where models are loaded from: counts the loads, and can hold them up or fail them."""

    def __init__(self, **sizes: int) -> None:
        self.sizes = {"a": MODEL, "b": MODEL, "c": MODEL} | sizes
        self.loads: list[str] = []
        self.gate = threading.Event()
        self.gate.set()
        self.failures: list[Exception] = []
        self.loaded: dict[str, weakref.ref[Segmenter]] = {}

    def open_model(self, served: Served) -> Segmenter:
        self.loads.append(served.name)
        assert self.gate.wait(SOON)
        if self.failures:
            raise self.failures.pop(0)
        made = SizedColours(served.name, self.sizes[served.name])
        self.loaded[served.name] = weakref.ref(made)
        return made

    @property
    def served(self) -> list[Served]:
        return [Served(name, card(name=name)) for name in self.sizes]


class Shop:
    """A pool over a shelf, and what its metrics say."""

    def __init__(self, shelf: Shelf, max_bytes: int | None, max_waiting: int, pause: float) -> None:
        self.shelf = shelf
        self.metrics = Metrics()
        self.pool = ModelPool(shelf.served, shelf.open_model, self.metrics, max_bytes, max_waiting, pause)

    def get(self, name: str) -> Loaded:
        return self.pool.acquire(name).result(SOON)

    def use(self, name: str) -> None:
        self.get(name).release()

    def is_at_once(self, name: str) -> bool:
        """Whether who asks for a model now need not wait for it; what comes is released."""
        asked = self.pool.acquire(name)
        at_once = asked.done()
        asked.add_done_callback(lambda done: done.result().release())
        return at_once

    @property
    def there(self) -> list[str]:
        return [card.name for card in self.pool.cards if self.pool.digest(card.name) is not None]

    def value(self, metric: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(metric, labels)


@contextmanager
def shop(
    shelf: Shelf | None = None, max_bytes: int | None = None, max_waiting: int = 32, pause: float = 60.0
) -> Iterator[Shop]:
    made = Shop(shelf or Shelf(), max_bytes, max_waiting, pause)
    try:
        yield made
    finally:
        made.shelf.gate.set()
        made.pool.close()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.002)


def test_a_model_is_loaded_when_it_is_first_asked_for() -> None:
    with shop() as given:
        before = list(given.shelf.loads)
        model = given.get("b")

        assert before == []
        assert model.segmenter.card.name == "b"
        assert given.shelf.loads == ["b"]
        assert given.there == ["b"]


def test_a_loaded_model_is_there_at_once() -> None:
    with shop() as given:
        given.use("a")

        assert given.pool.acquire("a").done()
        assert given.shelf.loads == ["a"]


def test_all_who_ask_meanwhile_wait_for_one_load() -> None:
    with shop() as given:
        given.shelf.gate.clear()
        asked = [given.pool.acquire("a") for _ in range(8)]
        given.shelf.gate.set()
        models = [one.result(SOON) for one in asked]

        assert len(set(models)) == 1
        assert models[0].holders == 8
        assert given.shelf.loads == ["a"]


def test_a_loaded_model_does_not_wait_for_another_that_loads() -> None:
    with shop() as given:
        given.use("a")
        given.shelf.gate.clear()
        slow = given.pool.acquire("b")
        until(lambda: given.shelf.loads == ["a", "b"])

        assert given.pool.acquire("a").done()
        assert not slow.done()


@pytest.mark.parametrize("name", ["huge", "a@2", "a@"])
def test_a_model_that_is_not_served_is_unknown(name: str) -> None:
    with shop() as given, pytest.raises(UnknownModel, match=f"no '{name}' here; there is: a, b, c"):
        given.pool.acquire(name)


def test_a_version_may_be_named() -> None:
    with shop() as given:
        assert given.get("a@1").segmenter.card.name == "a"


def test_without_a_budget_every_model_stays() -> None:
    with shop() as given:
        for name in "abcabc":
            given.use(name)

        assert given.there == ["a", "b", "c"]
        assert given.shelf.loads == ["a", "b", "c"]


def test_the_least_recently_used_model_makes_room() -> None:
    with shop(max_bytes=2 * MODEL) as given:
        given.use("a")
        given.use("b")
        given.use("a")
        given.use("c")

        assert given.there == ["a", "c"]
        assert given.value("lexiseg_model_unloads_total", model="b") == 1
        assert given.value("lexiseg_model_loaded", model="b", version="1") == 0
        assert given.value("lexiseg_model_bytes", model="c") == MODEL


def test_an_unloaded_model_leaves_the_memory() -> None:
    with shop(max_bytes=MODEL) as given:
        given.use("a")
        given.use("b")

        assert given.shelf.loaded["a"]() is None
        assert given.shelf.loaded["b"]() is not None


def test_a_model_in_use_stays_though_it_was_used_longest_ago() -> None:
    with shop(max_bytes=2 * MODEL) as given:
        held = given.get("a")
        given.use("b")
        given.use("c")

        assert given.there == ["a", "c"]
        held.release()


def test_a_model_in_use_goes_when_its_work_is_done() -> None:
    with shop(max_bytes=MODEL) as given:
        held = given.get("a")
        waiting = given.pool.acquire("b")
        until(lambda: not given.is_at_once("a"))  # it takes nothing new
        still_there = given.there
        held.release()
        waiting.result(SOON).release()

        assert still_there == ["a"]
        until(lambda: given.shelf.loads == ["a", "b", "a"])  # those who asked for it meanwhile get it again


def test_two_busy_models_that_do_not_fit_together_both_go_on() -> None:
    with shop(max_bytes=MODEL) as given:
        served: Counter[str] = Counter()

        def client(name: str) -> None:
            for _ in range(5):
                model = given.get(name)
                served[name] += 1
                time.sleep(0.001)
                model.release()

        clients = [threading.Thread(target=client, args=(name,)) for name in "aabb"]
        for one in clients:
            one.start()
        for one in clients:
            one.join(SOON)

        assert served == {"a": 10, "b": 10}
        assert len(given.there) == 1


def test_what_is_larger_than_the_budget_is_refused_and_drives_nobody_out() -> None:
    with shop(Shelf(c=5 * MODEL), max_bytes=2 * MODEL) as given:
        given.use("a")

        with pytest.raises(NotReady, match="model c cannot be loaded"):
            given.get("c")

        assert given.there == ["a"]
        assert "LEXISEG_MODEL_MEMORY_BYTES" in given.pool.failures["c"]


def test_room_is_made_before_a_model_of_known_size_is_loaded() -> None:
    with shop(max_bytes=MODEL) as given:
        given.use("a")
        given.use("b")
        given.shelf.gate.clear()
        given.pool.acquire("a")
        until(lambda: given.shelf.loads == ["a", "b", "a"])

        assert given.there == []


def test_who_waits_for_a_failed_load_hears_of_it_and_when_to_come_again() -> None:
    with shop(pause=60.0) as given:
        given.shelf.failures.append(WeightsError("damaged: secret/path"))
        given.shelf.gate.clear()
        asked = [given.pool.acquire("a") for _ in range(3)]
        given.shelf.gate.set()

        for one in asked:
            error = one.exception(SOON)
            assert isinstance(error, NotReady)
            assert "secret" not in error.detail
            assert error.headers["Retry-After"] == "60"
        assert given.pool.failures == {"a": "a cannot be loaded: damaged: secret/path"}
        assert given.value("lexiseg_model_load_failures_total", model="a") == 1


def test_a_failed_load_is_not_tried_again_during_its_pause() -> None:
    with shop(pause=60.0) as given:
        given.shelf.failures.append(MemoryError())
        given.pool.acquire("a").exception(SOON)

        with pytest.raises(NotReady, match="tried again in 60 seconds"):
            given.pool.acquire("a")

        assert given.shelf.loads == ["a"]


def test_after_its_pause_a_failed_load_is_tried_again() -> None:
    with shop(pause=0.0) as given:
        given.shelf.failures.append(RuntimeError("once"))
        failed = given.pool.acquire("a").exception(SOON)

        assert isinstance(failed, ServiceError)
        assert given.get("a").segmenter.card.name == "a"
        assert given.pool.failures == {}


def test_a_failed_load_leaves_the_other_models_alone() -> None:
    with shop() as given:
        given.shelf.failures.append(RuntimeError("once"))
        given.pool.acquire("a").exception(SOON)

        given.use("b")

        assert given.there == ["b"]


def test_a_load_that_nobody_waits_for_any_more_is_not_begun() -> None:
    with shop() as given:
        given.shelf.gate.clear()
        given.pool.acquire("a")
        until(lambda: given.shelf.loads == ["a"])
        assert given.pool.acquire("b").cancel()
        given.shelf.gate.set()
        given.use("c")

        assert given.shelf.loads == ["a", "c"]
        given.use("b")  # who asks later gets it


def test_who_gives_up_during_the_load_does_not_hold_the_model() -> None:
    with shop() as given:
        given.shelf.gate.clear()
        given_up = given.pool.acquire("a")
        until(lambda: given.shelf.loads == ["a"])
        assert given_up.cancel()
        given.shelf.gate.set()

        assert given.get("a").holders == 1


def test_no_more_wait_for_models_than_may() -> None:
    with shop(max_waiting=2) as given:
        given.use("a")
        given.shelf.gate.clear()
        waiting: list[Future[Loaded]] = [given.pool.acquire("b"), given.pool.acquire("c")]

        with pytest.raises(QueueFull):
            given.pool.acquire("b")

        assert given.pool.acquire("a").done()  # which waits for nothing
        given.shelf.gate.set()
        for one in waiting:
            one.result(SOON)
        assert given.pool.acquire("c").done()


def test_who_waits_when_the_pool_closes_hears_that() -> None:
    with shop() as given:
        given.shelf.gate.clear()
        waiting = [given.pool.acquire(name) for name in "ab"]
        given.pool.close()

        for one in waiting:
            assert isinstance(one.exception(SOON), NotReady)
        with pytest.raises(NotReady, match="going down"):
            given.pool.acquire("a")


def test_a_load_that_waits_for_room_ends_when_the_pool_closes() -> None:
    with shop(max_bytes=MODEL) as given:
        given.get("a")  # and never released
        waiting = given.pool.acquire("b")
        given.pool.close()

        assert isinstance(waiting.exception(SOON), NotReady)


def test_the_metrics_tell_of_every_model_from_the_start() -> None:
    with shop() as given:
        before = given.value("lexiseg_model_loaded", model="a", version="1")
        given.use("a")

        assert before == 0
        assert given.value("lexiseg_model_loaded", model="a", version="1") == 1
        assert given.value("lexiseg_model_load_seconds_count", model="a") == 1
        assert given.value("lexiseg_model_loaded", model="b", version="1") == 0


def test_a_model_that_is_there_already_needs_no_load() -> None:
    pool = ModelPool.of(SizedColours("colours"), Metrics())

    assert pool.acquire("colours").done()
    assert pool.digest("colours") == "colours"
    pool.close()
