"""The text cache over a real redis-server that is warm, killed, paused, slow or full of lies: the answers are equal."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import redis

from lexiseg_service.breaker import Breaker, State
from lexiseg_service.redis_link import RedisLink
from lexiseg_service.worker.texts import row_codec
from lexiseg_service.worker.texts.cache import CHUNK, Rows, TextCache, Tiers
from lexiseg_service.worker.texts.redis_rows import CLAIM_PREFIX, RedisTier
from lexiseg_service.worker.texts.tiers import MemoryRows
from tests.redis_server import Proxy, RedisServer

WIDTH = 8
PATIENT = 30.0  # seconds that nothing here should need
SHORT = 1.0  # what an ill Redis is waited for
CACHE_BYTES = 10_000_000
COOL_DOWN = 15.0


def row_of(text: str) -> Rows:
    return np.frombuffer(row_codec.address("row", text)[:WIDTH], np.uint8).astype(np.float16)


def rows_of(texts: list[str]) -> Rows:
    return np.stack([row_of(text) for text in texts])


class Worker:
    """One process's cache: its tower counts what it encodes, its breaker's clock is set by hand."""

    def __init__(self, url: str, timeout: float = PATIENT, patience: float = PATIENT) -> None:
        self.now = 0.0
        self.encoded: Counter[str] = Counter()
        self.counted: Counter[tuple[str, str]] = Counter()
        self.open = threading.Event()
        self.open.set()
        self.breaker = Breaker(3, COOL_DOWN, lambda: self.now)
        self.link = RedisLink(url, self.breaker, timeout)
        self.tier = RedisTier(self.link, 1000, self._count)
        tiers = Tiers("tower", MemoryRows(CACHE_BYTES), self.tier.of("tower"), self._count)
        self.cache = TextCache(self._encode, tiers, patience)
        self.ask(["warm-up"])

    def ask(self, texts: list[str]) -> Rows:
        return self.cache.rows(texts).rows

    def forget(self) -> None:
        self.encoded.clear()
        self.counted.clear()

    def _encode(self, texts: list[str]) -> Rows:
        assert self.open.wait(PATIENT)
        self.encoded.update(texts)
        return rows_of(texts)

    def _count(self, tier: str, result: str, n: int) -> None:
        if n:
            self.counted[tier, result] += n


@contextmanager
def working(url: str, timeout: float = PATIENT, patience: float = PATIENT) -> Iterator[Worker]:
    worker = Worker(url, timeout, patience)
    try:
        worker.forget()
        yield worker
    finally:
        worker.tier.close()


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


def test_what_one_worker_has_encoded_another_finds(server: RedisServer) -> None:
    texts = [f"word {index}" for index in range(700)]
    with working(server.url) as one, working(server.url) as other:
        first = one.ask(texts)
        second = other.ask(texts)

        np.testing.assert_array_equal(first, rows_of(texts))
        np.testing.assert_array_equal(second, first)
        assert not other.encoded
        assert other.counted == {("l1", "miss"): 700, ("redis", "hit"): 700}


def test_a_row_has_a_life_and_so_has_a_claim(server: RedisServer, store: redis.Redis) -> None:
    with working(server.url) as worker:
        worker.ask(["sky"])

    name = row_codec.address("tower", "sky")
    assert 0 < store.ttl(row_codec.key(name)) <= 1000
    assert store.pttl(CLAIM_PREFIX + name.hex()) > 0


def test_what_is_in_redis_does_not_wait_for_the_tower(server: RedisServer) -> None:
    with working(server.url) as one, working(server.url) as other, ThreadPoolExecutor(1) as threads:
        one.ask(["sky"])
        other.open.clear()
        slow = threads.submit(other.ask, ["sea"])
        rows = other.ask(["sky"])
        other.open.set()
        slow.result(PATIENT)

        np.testing.assert_array_equal(rows, rows_of(["sky"]))


def test_workers_that_miss_a_vocabulary_at_once_encode_it_once(server: RedisServer) -> None:
    texts = [f"word {index}" for index in range(3 * CHUNK + 17)]
    shuffled = list(np.random.default_rng(0).permutation(texts))
    together = threading.Barrier(3)

    def ask(worker: Worker, mine: list[str]) -> Rows:
        together.wait(PATIENT)
        return worker.ask(mine)

    with working(server.url) as a, working(server.url) as b, working(server.url) as c, ThreadPoolExecutor(3) as threads:
        lookups = [threads.submit(ask, a, texts), threads.submit(ask, b, texts), threads.submit(ask, c, shuffled)]
        rows_of_workers = [answer.result(PATIENT) for answer in lookups]

        for rows, mine in zip(rows_of_workers, (texts, texts, shuffled), strict=True):
            np.testing.assert_array_equal(rows, rows_of(mine))
        assert a.encoded + b.encoded + c.encoded == Counter(texts)


def test_a_text_whose_claimant_has_died_is_encoded_by_who_waits(server: RedisServer, store: redis.Redis) -> None:
    texts = [f"word {index}" for index in range(CHUNK + 5)]
    for text in texts:
        store.set(CLAIM_PREFIX + row_codec.address("tower", text).hex(), b"1")

    with working(server.url, patience=0.2) as worker:
        rows = worker.ask(texts)

        np.testing.assert_array_equal(rows, rows_of(texts))
        assert worker.encoded == Counter(texts)


def test_a_claim_that_lapses_is_taken_over(server: RedisServer, store: redis.Redis) -> None:
    store.set(CLAIM_PREFIX + row_codec.address("tower", "sky").hex(), b"1", px=100)

    with working(server.url) as worker:  # its patience would be longer than the test
        np.testing.assert_array_equal(worker.ask(["sky"]), rows_of(["sky"]))


def test_a_damaged_row_under_a_live_claim_is_encoded_where_it_is_found(server: RedisServer, store: redis.Redis) -> None:
    texts = [f"word {index}" for index in range(CHUNK + 5)]
    for text in texts:
        name = row_codec.address("tower", text)
        store.set(CLAIM_PREFIX + name.hex(), b"1")
        store.set(row_codec.key(name), b"no row")

    with working(server.url) as worker:  # its patience would be longer than the test
        np.testing.assert_array_equal(worker.ask(texts), rows_of(texts))

        assert worker.encoded == Counter(texts)
    assert row_codec.decode(name, store.get(row_codec.key(name)), WIDTH) is not None


def lies() -> dict[str, Callable[[redis.Redis, bytes], object]]:
    """What may stand under the key of a text's row."""

    def writes(value: Callable[[bytes], bytes]) -> Callable[[redis.Redis, bytes], object]:
        return lambda store, name: store.set(row_codec.key(name), value(name))

    good = row_of("sky").tobytes()
    valid = row_codec.HEADER.size + row_codec.CHECKSUM
    return {
        "nothing": writes(lambda name: b""),
        "foreign": writes(lambda name: b'{"row": [1, 2, 3]}'),
        "pickle": writes(lambda name: b"\x80\x04]\x94(K\x01K\x02K\x03e."),
        "huge": writes(lambda name: bytes(3_000_000)),
        "cut short": writes(lambda name: row_codec.encode(name, good)[:-1]),
        "a bit flipped": writes(lambda name: row_codec.encode(name, good)[:-1] + bytes([good[-1] ^ 1])),
        "no row": writes(lambda name: row_codec.encode(name, good)[:valid]),
        "another length": writes(lambda name: row_codec.encode(name, good + good)),
        "another type": writes(lambda name: b"LXTR\x01\x02" + row_codec.encode(name, good)[6:]),
        "another version": writes(lambda name: b"LXTR\x02\x01" + row_codec.encode(name, good)[6:]),
        "another text's": writes(lambda name: row_codec.encode(row_codec.address("tower", "sea"), good)),
    }


@pytest.mark.parametrize("lie", lies())
def test_a_value_that_is_no_row_is_counted_and_overwritten(lie: str, server: RedisServer, store: redis.Redis) -> None:
    lies()[lie](store, row_codec.address("tower", "sky"))

    with working(server.url) as one, working(server.url) as other:
        rows = one.ask(["sky"])

        np.testing.assert_array_equal(rows, rows_of(["sky"]))
        assert one.counted == {("l1", "miss"): 1, ("redis", "error"): 1}
        np.testing.assert_array_equal(other.ask(["sky"]), rows)
        assert other.counted["redis", "hit"] == 1
        assert one.breaker.state is State.CLOSED


def test_a_key_of_another_kind_is_overwritten(server: RedisServer, store: redis.Redis) -> None:
    key = row_codec.key(row_codec.address("tower", "sky"))
    store.rpush(key, "a", "list")

    with working(server.url) as worker:
        np.testing.assert_array_equal(worker.ask(["sky"]), rows_of(["sky"]))

    assert store.type(key) == b"string"


def test_a_redis_that_takes_no_writes_still_gives_rows(server: RedisServer, store: redis.Redis) -> None:
    with working(server.url) as one, working(server.url) as other:
        one.ask(["sky"])
        store.config_set("maxmemory", "1")
        store.config_set("maxmemory-policy", "noeviction")

        np.testing.assert_array_equal(other.ask(["sky", "sea"]), rows_of(["sky", "sea"]))
        assert other.counted["redis", "hit"] == 1
        assert other.encoded == Counter(["sea"])
        full = other.tier.degraded
        store.config_set("maxmemory", "0")
        other.ask(["river"])
        assert (full, one.tier.degraded, other.tier.degraded) == (True, False, False)


def kill(server: RedisServer, proxy: Proxy) -> Callable[[], None]:
    server.kill()
    return server.start


def pause(server: RedisServer, proxy: Proxy) -> Callable[[], None]:
    server.pause()
    return server.resume


def slow(server: RedisServer, proxy: Proxy) -> Callable[[], None]:
    proxy.delay = 3 * SHORT
    return lambda: setattr(proxy, "delay", 0.0)


def nonsense(server: RedisServer, proxy: Proxy) -> Callable[[], None]:
    proxy.mode = "nonsense"
    return lambda: setattr(proxy, "mode", "forward")


def trickle(server: RedisServer, proxy: Proxy) -> Callable[[], None]:
    proxy.mode = "trickle"
    return lambda: setattr(proxy, "mode", "forward")


@pytest.mark.parametrize("fall_ill", [kill, pause, slow, nonsense, trickle])
def test_an_ill_redis_is_left_alone_and_found_again(
    fall_ill: Callable[[RedisServer, Proxy], Callable[[], None]], server: RedisServer, proxy: Proxy
) -> None:
    through_proxy = fall_ill not in (kill, pause)
    with working(proxy.url if through_proxy else server.url, SHORT) as worker:
        healthy = worker.tier.degraded
        cure = fall_ill(server, proxy)
        try:
            # Each lookup meets the illness once and goes on; the third opens the breaker.
            states = []
            for index in range(3):
                np.testing.assert_array_equal(worker.ask([f"word {index}"]), rows_of([f"word {index}"]))
                states.append(worker.breaker.state)
            errors, calls = worker.counted["redis", "error"], proxy.calls
            degraded = worker.tier.degraded

            # From now on nothing is asked of Redis, and the memory goes on.
            texts = [f"word {index}" for index in range(40)]
            np.testing.assert_array_equal(worker.ask(texts), rows_of(texts))
            np.testing.assert_array_equal(worker.ask(texts), rows_of(texts))
            left_alone = (worker.counted["redis", "error"], proxy.calls) == (errors, calls)
        finally:
            cure()

        assert (healthy, degraded, left_alone) == (False, True, True)
        assert states == [State.CLOSED, State.CLOSED, State.OPEN]
        assert worker.encoded == Counter(texts)  # each once, the kept ones not again

        worker.now += COOL_DOWN
        worker.ask(["after"])
        with working(server.url) as other:
            other.ask(["after"])
            assert other.counted["redis", "hit"] == 1
        assert worker.breaker.state is State.CLOSED
        assert not worker.tier.degraded


def test_who_only_watches_sees_when_redis_is_back(server: RedisServer) -> None:
    with working(server.url, SHORT) as worker:
        server.kill()
        for index in range(3):
            worker.ask([f"word {index}"])
        server.start()
        worker.now += COOL_DOWN
        pause = threading.Event()

        seen: list[bool] = []
        while not seen or (seen[-1] and len(seen) < 1000):
            seen.append(worker.tier.degraded)
            pause.wait(0.02)
            worker.now += COOL_DOWN

        assert seen[-1] is False
        assert worker.counted["redis", "hit"] == 0
