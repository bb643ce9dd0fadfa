"""The model pool: loading on demand, a memory budget, and single-flight loads."""

import threading
import time
from collections import Counter
from concurrent.futures import Future
from pathlib import Path

import pytest

from lexiseg_model.errors import WeightsError
from lexiseg_model.model_name import ModelName
from lexiseg_service.errors import InvalidValue, NotReady, QueueFull, UnknownModel
from lexiseg_service.settings import Settings
from lexiseg_service.worker.models.pool import Loaded
from lexiseg_service.worker.models.served import preloaded, served_models
from tests.model.catalogue.test_models import copy_of_tiny
from tests.service.worker.models.shop import MODEL, Shelf, Shop, opened
from tests.waiting import SOON, until


def test_a_model_is_loaded_when_it_is_first_asked_for() -> None:
    with opened() as shop:
        before = list(shop.shelf.loads)
        model = shop.get("b")

        assert before == []
        assert model.segmenter.card.name == "b"
        assert shop.shelf.loads == ["b"]
        assert shop.there == ["b"]


def test_concurrent_requests_wait_for_one_load() -> None:
    with opened() as shop:
        shop.shelf.gate.clear()
        asked = [shop.pool.acquire("a") for _ in range(8)]
        shop.shelf.gate.set()
        models = [one.result(SOON) for one in asked]

        assert len(set(models)) == 1
        assert models[0].holders == 8
        assert shop.shelf.loads == ["a"]


@pytest.mark.parametrize("name", ["huge", "a@2", "a@"])
def test_a_model_that_is_not_served_is_unknown(name: str) -> None:
    with opened() as shop, pytest.raises(UnknownModel, match=f"no '{name}' here; there is: a, b, c"):
        shop.pool.acquire(name)


def test_the_least_recently_used_model_makes_room() -> None:
    with opened(max_bytes=2 * MODEL) as shop:
        shop.use("a")
        shop.use("b")
        shop.use("a")
        shop.use("c")

        assert shop.there == ["a", "c"]
        assert shop.value("lexiseg_model_unloads_total", model="b") == 1
        assert shop.value("lexiseg_model_loaded", model="b", version="1") == 0
        assert shop.value("lexiseg_model_bytes", model="c") == MODEL


def test_a_held_model_is_evicted_last() -> None:
    with opened(max_bytes=2 * MODEL) as shop:
        held = shop.get("a")
        shop.use("b")
        shop.use("c")

        assert shop.there == ["a", "c"]
        held.release()


def test_a_held_model_is_evicted_once_it_is_released() -> None:
    with opened(max_bytes=MODEL) as shop:
        held = shop.get("a")
        waiting = shop.pool.acquire("b")
        until(lambda: not shop.is_at_once("a"))  # it takes nothing new
        still_there = shop.there
        held.release()
        waiting.result(SOON).release()

        assert still_there == ["a"]
        until(lambda: shop.shelf.loads == ["a", "b", "a"])  # those who asked for it meanwhile get it again


def test_two_busy_models_that_do_not_fit_together_alternate() -> None:
    with opened(max_bytes=MODEL) as shop:
        served: Counter[str] = Counter()

        def client(name: str) -> None:
            for _ in range(3):
                model = shop.get(name)
                served[name] += 1
                time.sleep(0.001)
                model.release()

        clients = [threading.Thread(target=client, args=(name,)) for name in "aabb"]
        for one in clients:
            one.start()
        for one in clients:
            one.join(SOON)

        assert served == {"a": 6, "b": 6}
        assert len(shop.there) == 1


def test_a_model_larger_than_the_budget_is_refused_and_evicts_nothing() -> None:
    with opened(Shelf(c=5 * MODEL), max_bytes=2 * MODEL) as shop:
        shop.use("a")

        with pytest.raises(NotReady, match="model c cannot be loaded"):
            shop.get("c")

        assert shop.there == ["a"]
        assert "LEXISEG_MODEL_MEMORY_BYTES" in shop.pool.failures["c"]


def test_requests_that_wait_for_a_failed_load_get_an_error_with_retry_after() -> None:
    with opened(pause=60.0) as shop:
        shop.shelf.failures.append(WeightsError("damaged: secret/path"))
        shop.shelf.gate.clear()
        asked = [shop.pool.acquire("a") for _ in range(3)]
        shop.shelf.gate.set()

        for one in asked:
            error = one.exception(SOON)
            assert isinstance(error, NotReady)
            assert "secret" not in error.detail
            assert error.headers["Retry-After"] == "60"
        assert shop.pool.failures == {"a": "a cannot be loaded: damaged: secret/path"}
        assert shop.value("lexiseg_model_load_failures_total", model="a") == 1


def test_a_model_is_awaited_until_it_was_in_memory_once() -> None:
    def awaited(shop: Shop) -> list[str]:
        return [card.name for card in shop.pool.awaited]

    with opened(max_bytes=MODEL) as shop:
        never_asked_for = awaited(shop)
        shop.shelf.gate.clear()
        load = shop.pool.acquire("a")
        on_its_way = awaited(shop)
        shop.shelf.gate.set()
        load.result(SOON).release()
        there = awaited(shop)
        shop.use("b")  # "a" goes
        shop.shelf.failures.append(RuntimeError("once"))
        shop.pool.acquire("c").exception(SOON)

        assert (never_asked_for, on_its_way, there) == ([], ["a"], [])
        assert awaited(shop) == ["c"]


def test_a_failed_load_is_retried_without_a_request_and_awaited_until_it_succeeds() -> None:
    with opened(pause=0.0) as shop:
        shop.shelf.failures += [RuntimeError("once"), RuntimeError("twice")]
        shop.pool.acquire("a").exception(SOON)
        awaited = [[card.name for card in shop.pool.awaited]]
        for n_loads in (2, 3):
            shop.pool.retry_failed()
            until(lambda n=n_loads: len(shop.shelf.loads) == n)  # type: ignore[misc]
            until(lambda: not shop.pool._slots[ModelName("a", "1")].is_loading)
        awaited.append([card.name for card in shop.pool.awaited])

        assert awaited == [["a"], []]
        assert shop.there == ["a"]
        assert not shop.pool.failures
        until(lambda: shop.pool._slots[ModelName("a", "1")].loaded.holders == 0)  # type: ignore[union-attr]


def test_a_load_without_a_waiting_request_is_not_begun() -> None:
    with opened() as shop:
        shop.shelf.gate.clear()
        shop.pool.acquire("a")
        until(lambda: shop.shelf.loads == ["a"])
        assert shop.pool.acquire("b").cancel()
        shop.shelf.gate.set()
        shop.use("c")

        assert shop.shelf.loads == ["a", "c"]
        shop.use("b")  # who asks later gets it


def test_the_number_of_requests_that_wait_for_models_is_bounded() -> None:
    with opened(max_waiting=2) as shop:
        shop.use("a")
        shop.shelf.gate.clear()
        waiting: list[Future[Loaded]] = [shop.pool.acquire("b"), shop.pool.acquire("c")]

        with pytest.raises(QueueFull):
            shop.pool.acquire("b")

        assert shop.pool.acquire("a").done()  # which waits for nothing
        shop.shelf.gate.set()
        for one in waiting:
            one.result(SOON)
        assert shop.pool.acquire("c").done()


def test_closing_the_pool_fails_waiting_requests() -> None:
    with opened() as shop:
        shop.shelf.gate.clear()
        waiting = [shop.pool.acquire(name) for name in "ab"]
        shop.pool.close()

        for one in waiting:
            assert isinstance(one.exception(SOON), NotReady)
        with pytest.raises(NotReady, match="going down"):
            shop.pool.acquire("a")


@pytest.fixture(autouse=True)
def _no_settings_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LEXISEG_MODEL", "LEXISEG_MODELS_FILE", "LEXISEG_MODELS_DIR", "LEXISEG_DEVICE"):
        monkeypatch.delenv(name, raising=False)


def test_tiny_is_the_default_model() -> None:
    (served,) = served_models(Settings())

    assert (served.name, served.card.name) == ("tiny", "tiny")


@pytest.mark.parametrize(
    ("model", "loaded"),
    [("second, tiny@1", ["second"]), ("second,tiny@2,tiny@1", ["second", "tiny@2", "tiny@1"])],
    ids=["others load on demand", "several versions do not"],
)
def test_the_first_model_is_the_default(models_dir: Path, model: str, loaded: list[str]) -> None:
    copy_of_tiny(models_dir, "tiny@2")

    served = served_models(Settings(model=model, models_dir=models_dir))

    assert [one.name for one in served] == model.replace(" ", "").split(",")
    assert [one.name for one in preloaded(served)] == loaded


@pytest.mark.parametrize("model", ["tiny,", ",", "", "tiny,,tiny"])
def test_a_name_that_is_missing_is_refused(model: str) -> None:
    with pytest.raises(InvalidValue, match="--model"):
        served_models(Settings(model=model))


def test_all_missing_models_are_named(models_dir: Path) -> None:
    (models_dir / "second" / "tiny.safetensors").unlink()

    with pytest.raises(WeightsError) as refused:
        served_models(Settings(model="tiny,second,huge", models_dir=models_dir))

    first, second = str(refused.value).splitlines()
    assert "second" in first
    assert "no model 'huge'" in second
