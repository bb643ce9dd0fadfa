"""The text cache over a real Redis that is killed, paused, slow or holds wrong values: answers stay equal."""

import hashlib
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import redis
from numpy.typing import NDArray
from pydantic import SecretStr

from lexiseg_service.redis_link import State
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.worker.redis_rows import encode, key_of
from lexiseg_service.worker.texts import TextCaches
from tests.redis_server import Proxy, RedisServer

WIDTH = 8
PATIENT = 30.0  # seconds that nothing here should need
SHORT = 0.2  # the time limit of a call to a sick Redis
SECRET = "of all the workers of one fleet"
SKY, SEA = key_of("tower", "sky"), key_of("tower", "sea")


def row_of(text: str) -> NDArray[np.float16]:
    return np.frombuffer(hashlib.sha256(text.encode()).digest()[:WIDTH], np.uint8).astype(np.float16)


def rows_of(texts: list[str]) -> NDArray[np.float16]:
    return np.stack([row_of(text) for text in texts])


class Worker:
    """One process's rows; its tower counts what it encodes, its breaker's clock is set by hand."""

    def __init__(self, url: str, secret: str | None, timeout: float) -> None:
        self.now = 0.0
        self.encoded: Counter[str] = Counter()
        self.open = threading.Event()
        self.open.set()
        self.metrics = Metrics()
        key = None if secret is None else SecretStr(secret)
        settings = Settings.model_construct(redis_url=SecretStr(url), text_rows_key=key)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("lexiseg_service.redis_link.TIMEOUT_SECONDS", timeout)
            self.caches = TextCaches(settings, self.metrics)
        assert self.caches.redis is not None
        self.breaker = self.caches.redis.link.breaker
        self.breaker._clock = lambda: self.now
        self.cache = self.caches.space("tower", self._encode)
        self.caches.row_bytes["tower"] = 2 * WIDTH  # as after the first text

    def ask(self, texts: list[str]) -> NDArray[np.float16]:
        return self.cache.rows(texts).rows_of(texts)

    def counted(self, result: str) -> float:
        labels = {"tier": "redis", "result": result}
        return self.metrics.registry.get_sample_value("lexiseg_text_cache_total", labels) or 0.0

    def _encode(self, texts: list[str]) -> NDArray[np.float16]:
        assert self.open.wait(PATIENT)
        self.encoded.update(texts)
        return rows_of(texts)


@contextmanager
def working(url: str, secret: str | None = SECRET, timeout: float = PATIENT) -> Iterator[Worker]:
    worker = Worker(url, secret, timeout)
    try:
        yield worker
    finally:
        worker.caches.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path)
    try:
        yield server
    finally:
        server.kill()


@pytest.fixture
def proxy(server: RedisServer) -> Iterator[Proxy]:
    proxy = Proxy(server.port)
    try:
        yield proxy
    finally:
        proxy.close()


@pytest.fixture
def store(server: RedisServer) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(server.url) as client:
        yield client


@pytest.mark.parametrize("secret", [None, SECRET])
def test_what_one_worker_has_encoded_another_finds_with_the_same_bits(server: RedisServer, secret: str | None) -> None:
    texts = [f"word {index}" for index in range(1500)]
    with working(server.url, secret) as one, working(server.url, secret) as other:
        first = one.ask(texts)
        second = other.ask(texts)

        assert first.tobytes() == second.tobytes() == rows_of(texts).tobytes()
        assert not other.encoded
        assert other.counted("hit") == 1500


def test_a_row_has_a_time_to_live(server: RedisServer, store: redis.Redis) -> None:
    with working(server.url) as worker:
        worker.ask(["sky"])

    assert 0 < store.ttl(SKY) <= 30 * 86400


def value_of(store: redis.Redis, key: str) -> bytes:
    value = store.get(key)
    assert isinstance(value, bytes)
    return value


def swap(store: redis.Redis) -> None:
    """Exchange two rows as they are."""
    store.mset({SKY: value_of(store, SEA), SEA: value_of(store, SKY)})


def damage(store: redis.Redis) -> None:
    """One bit of a row is another."""
    value = bytearray(value_of(store, SKY))
    value[-1] ^= 1
    store.set(SKY, bytes(value))


FORGERIES = [
    damage,
    pytest.param(lambda store: store.set(SKY, value_of(store, SKY)[:-1]), id="truncated"),
    swap,
    pytest.param(
        lambda store: store.set(SKY, encode(b"", SKY, row_of("sea").tobytes())), id="signed without the secret"
    ),
]


@pytest.mark.parametrize("forge", FORGERIES)
def test_a_forged_or_swapped_row_is_not_used_and_is_overwritten(
    forge: Callable[[redis.Redis], object], server: RedisServer, store: redis.Redis
) -> None:
    texts = ["sky", "sea"]
    with working(server.url) as one, working(server.url) as other, working(server.url) as third:
        one.ask(texts)
        forge(store)

        assert other.ask(texts).tobytes() == rows_of(texts).tobytes()
        assert other.encoded["sky"] == 1
        assert other.counted("error") >= 1
        assert third.ask(texts).tobytes() == rows_of(texts).tobytes()
        assert not third.encoded


@pytest.mark.parametrize("n_bytes", [2, 2 * WIDTH - 2, 4 * WIDTH])
@pytest.mark.parametrize("fresh", [False, True], ids=["known", "not known yet"])
def test_a_signed_row_of_another_length_costs_one_miss(
    n_bytes: int, fresh: bool, server: RedisServer, store: redis.Redis
) -> None:
    for key in (SKY, SEA):
        store.set(key, encode(SECRET.encode(), key, bytes(n_bytes)))
    texts = ["sky", "sea"]
    with working(server.url) as one, working(server.url) as other:
        if fresh:
            one.caches.row_bytes.clear()

        assert one.ask(texts).tobytes() == rows_of(texts).tobytes()
        assert one.encoded == Counter(texts)
        assert other.ask(texts).tobytes() == rows_of(texts).tobytes()
        assert not other.encoded


def test_a_key_of_another_type_is_overwritten(server: RedisServer, store: redis.Redis) -> None:
    store.rpush(SKY, "a", "list")

    with working(server.url) as worker:
        np.testing.assert_array_equal(worker.ask(["sky"]), rows_of(["sky"]))

    assert store.type(SKY) == b"string"


def test_a_redis_that_refuses_writes_still_gives_rows(server: RedisServer, store: redis.Redis) -> None:
    with working(server.url) as one, working(server.url) as other:
        one.ask(["sky"])
        store.config_set("maxmemory", "1")
        store.config_set("maxmemory-policy", "noeviction")

        for word in ("sea", "bay", "river", "lake"):
            np.testing.assert_array_equal(other.ask(["sky", word]), rows_of(["sky", word]))

        assert other.counted("hit") == 1
        assert other.breaker.state is State.CLOSED


def kill(server: RedisServer, proxy: Proxy) -> Callable[[], None]:
    server.kill()
    return server.start


def pause(server: RedisServer, proxy: Proxy) -> Callable[[], None]:
    server.pause()
    return server.resume


def nonsense(server: RedisServer, proxy: Proxy) -> Callable[[], None]:
    proxy.mode = "nonsense"
    return lambda: setattr(proxy, "mode", "forward")


@pytest.mark.parametrize("fall_ill", [kill, pause, nonsense])
def test_a_sick_redis_is_left_alone_and_found_again(
    fall_ill: Callable[[RedisServer, Proxy], Callable[[], None]], server: RedisServer, proxy: Proxy
) -> None:
    through_proxy = fall_ill not in (kill, pause)
    with working(proxy.url if through_proxy else server.url, timeout=SHORT) as worker:
        healthy = worker.caches.degraded
        cure = fall_ill(server, proxy)
        try:
            words = [f"word {index}" for index in range(6)]
            for word in words:  # each costs at most two calls that fail, until the third failure opens the breaker
                np.testing.assert_array_equal(worker.ask([word]), rows_of([word]))
            opened, calls, degraded = worker.breaker.state, proxy.calls, worker.caches.degraded

            np.testing.assert_array_equal(worker.ask([*words, "later"]), rows_of([*words, "later"]))
            left_alone = proxy.calls == calls
        finally:
            cure()

        assert (healthy, opened, degraded, left_alone) == (False, State.OPEN, True, True)
        assert worker.encoded == Counter([*words, "later"])

        with working(server.url) as other:
            for tries in range(100):  # a call may still take too long on a busy machine
                worker.now += 100.0
                worker.ask([f"after {tries}"])
                other.ask([f"after {tries}"])
                if other.counted("hit") and worker.breaker.state is State.CLOSED:
                    break
            assert other.counted("hit"), "Redis is back and is not used"
        assert not worker.caches.degraded


def test_a_redis_that_is_back_is_found_without_a_request(server: RedisServer) -> None:
    with working(server.url, timeout=SHORT) as worker:
        server.kill()
        for index in range(3):
            worker.ask([f"word {index}"])
        states = [worker.caches.degraded]
        server.start()
        pause = threading.Event()

        while states[-1] and len(states) < 1000:
            worker.now += 100.0
            states.append(worker.caches.degraded)
            pause.wait(0.02)

        assert (states[0], states[-1]) == (True, False)
        assert worker.counted("hit") == 0
