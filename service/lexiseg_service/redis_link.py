"""Redis for work that goes on without it: short calls behind a circuit breaker.

redis-py reconnects after a lost connection and bounds each connect and each read. Here the sum of a call's reads is
bounded, too: a server that never stops sending would hold a thread and fill the memory.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from enum import IntEnum
from operator import methodcaller
from typing import Any, TypeVar

import structlog

from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics

logger = structlog.get_logger("lexiseg.redis")
T = TypeVar("T")
FAILURES = 3  # in a row that open the breaker
COOL_DOWN_SECONDS = 5.0  # of an open breaker, until one call is tried
TIMEOUT_SECONDS = 0.2  # for a connect, or one read
READS = 5  # of that time each, that a call may take in all
OUT_OF_MEMORY = "command not allowed when used memory"  # in Redis' error for a write at its maxmemory
MAX_BYTES = 32 * 2**20  # of a call's answers: four vocabularies of 3 MB, or 1,024 rows of 8 KB


class State(IntEnum):
    """State of a circuit breaker, with its value in the metrics."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


class Breaker:
    """Circuit breaker: whether to call, by the outcomes of earlier calls; thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures = 0
        self._next_trial = 0.0
        self._guard = threading.Lock()
        self.state = State.CLOSED

    @property
    def trial_is_due(self) -> bool:
        """Whether it is not closed and the next call is allowed."""
        return self.state is not State.CLOSED and self._clock() >= self._next_trial

    def allow(self) -> bool:
        """Whether a call is allowed; while not closed, one after each cool-down."""
        with self._guard:
            if self.state is State.CLOSED:
                return True
            if self._clock() < self._next_trial:
                return False
            self._next_trial = self._clock() + COOL_DOWN_SECONDS
            self.state = State.HALF_OPEN
            return True

    def success(self) -> None:
        with self._guard:
            if self.state is not State.OPEN:
                self._failures = 0
                self.state = State.CLOSED

    def failure(self) -> None:
        with self._guard:
            self._failures += 1
            if self.state is State.HALF_OPEN or (self.state is State.CLOSED and self._failures >= FAILURES):
                self._next_trial = self._clock() + COOL_DOWN_SECONDS
                self.state = State.OPEN


class RedisAway(Exception):
    """Redis did not answer in time, or the circuit breaker is open; or it has no memory for a write."""

    def __init__(self, reason: str = "Redis does not answer") -> None:
        super().__init__(reason)


class RedisFull(RedisAway):
    """Redis has used its maxmemory: it takes no write before something is removed."""


class _Budget(threading.local):
    """What the call of this thread may still read."""

    until = 0.0  # time.monotonic()
    left = 0  # bytes

    def begin(self, seconds: float) -> None:
        self.until, self.left = time.monotonic() + seconds, MAX_BYTES

    def spend(self, n_bytes: int) -> None:
        """Raises TimeoutError, which redis-py expects of a socket: the call has read for too long or too much."""
        self.left -= n_bytes
        if self.left < 0 or time.monotonic() > self.until:
            raise TimeoutError


class _BoundedSocket:
    """A connection's socket; its reads are taken from the budget of the call."""

    def __init__(self, sock: Any, budget: _Budget) -> None:
        self._sock = sock
        self._budget = budget

    def recv(self, size: int) -> bytes:
        content: bytes = self._sock.recv(size)
        self._budget.spend(len(content))
        return content

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


class RedisLink:
    """A Redis client with calls that end in time; thread-safe."""

    def __init__(self, url: str, timeout: float, breaker: Breaker) -> None:
        # Its imports take a quarter of a second, which a service without Redis saves.
        from redis import ConnectionError as ConnectionLost
        from redis import Redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        self.breaker = breaker
        self._seconds = READS * timeout
        self._budget = _Budget()
        self._redis = Redis.from_url(
            url,
            socket_connect_timeout=timeout,
            socket_timeout=timeout,
            retry=Retry(NoBackoff(), 1, supported_errors=(ConnectionLost,)),
            protocol=2,  # without driver info: a new connection needs no round trips
            driver_info=None,
            redis_connect_func=self._on_connect,
        )

    @property
    def away(self) -> bool:
        """Whether the breaker is not closed; after each cool-down Redis is pinged in the background."""
        if self.breaker.trial_is_due:
            threading.Thread(target=self._ping, name="redis", daemon=True).start()
        return self.breaker.state is not State.CLOSED

    def call(self, act: Callable[[Any], T]) -> T:
        """The result of `act`, which gets a client of redis-py, and may run twice if the connection is lost."""
        if not self.breaker.allow():
            raise RedisAway
        self._budget.begin(self._seconds)
        try:
            result = act(self._redis)
        except Exception as error:  # redis-py raises many kinds of errors on invalid answers
            if OUT_OF_MEMORY in str(error):  # also of a script
                self.breaker.success()
                raise RedisFull("Redis is full: it has used its maxmemory") from error
            self.breaker.failure()
            logger.warning("redis failed", error=type(error).__name__)
            raise RedisAway from error
        self.breaker.success()
        return result

    async def ask(self, act: Callable[[Any], T]) -> T:
        return await asyncio.to_thread(self.call, act)

    def close(self) -> None:
        self._redis.connection_pool.disconnect(inuse_connections=True)

    def _on_connect(self, connection: Any) -> None:
        connection._sock = _BoundedSocket(connection._sock, self._budget)
        connection.on_connect()

    def _ping(self) -> None:
        with suppress(RedisAway):
            self.call(methodcaller("ping"))


def try_write(client: Any) -> None:
    """Write a little that expires: a Redis that is full refuses it."""
    client.set("lexiseg:check", "", ex=10)


def open_link(settings: Settings, purpose: str, metrics: Metrics, timeout: float | None = None) -> RedisLink:
    """A link to the Redis of the settings, which must name one, with a breaker of its own for a purpose."""
    assert settings.redis_url is not None
    link = RedisLink(settings.redis_url.get_secret_value(), timeout or TIMEOUT_SECONDS, Breaker())
    metrics.breakers.labels(purpose).set_function(lambda: link.breaker.state)
    return link
