"""Redis for work that goes on without it: short calls behind a circuit breaker.

redis-py reconnects after a lost connection and bounds each connect and each read.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from enum import IntEnum
from typing import TypeVar

import structlog
from redis import ConnectionError as ConnectionLost
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics

logger = structlog.get_logger("lexiseg.redis")
T = TypeVar("T")
FAILURES = 3  # in a row that open the breaker
COOL_DOWN_SECONDS = 5.0  # of an open breaker, until one call is tried
TIMEOUT_SECONDS = 0.2  # for a connect, or an answer


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
        """A call succeeded; a call that began before the breaker opened does not close it."""
        with self._guard:
            if self.state is not State.OPEN:
                self._failures = 0
                self.state = State.CLOSED

    def failure(self) -> None:
        """A call failed."""
        with self._guard:
            self._failures += 1
            if self.state is State.HALF_OPEN or (self.state is State.CLOSED and self._failures >= FAILURES):
                self._next_trial = self._clock() + COOL_DOWN_SECONDS
                self.state = State.OPEN


class RedisAway(Exception):
    """Redis did not answer in time, or the circuit breaker is open."""


class RedisLink:
    """A Redis client whose calls end in time; thread-safe."""

    def __init__(self, url: str, timeout: float, breaker: Breaker) -> None:
        self.breaker = breaker
        self._redis = Redis.from_url(
            url,
            socket_connect_timeout=timeout,
            socket_timeout=timeout,
            retry=Retry(NoBackoff(), 1, supported_errors=(ConnectionLost,)),
            protocol=2,  # without driver info: a new connection needs no round trips
            driver_info=None,
        )

    @property
    def away(self) -> bool:
        """Whether the breaker is not closed; after each cool-down Redis is pinged in the background."""
        if self.breaker.trial_is_due:
            threading.Thread(target=self._ping, name="redis", daemon=True).start()
        return self.breaker.state is not State.CLOSED

    def ask(self, call: Callable[[Redis], T]) -> T:
        """The result of `call`, which may run twice if the connection is lost.

        Raises:
            RedisAway: the call failed or took too long, or the breaker is open.
        """
        if not self.breaker.allow():
            raise RedisAway
        try:
            result = call(self._redis)
        except Exception as error:  # redis-py raises many kinds of errors on invalid answers
            self.breaker.failure()
            logger.warning("redis failed", error=type(error).__name__)
            raise RedisAway from error
        self.breaker.success()
        return result

    def close(self) -> None:
        """Close all connections, also of calls in flight."""
        self._redis.connection_pool.disconnect(inuse_connections=True)

    def _ping(self) -> None:
        with suppress(RedisAway):
            self.ask(Redis.ping)


def open_link(settings: Settings, purpose: str, metrics: Metrics) -> RedisLink:
    """A link to the Redis of the settings, which must name one; `purpose` labels its breaker in the metrics.

    Each purpose has its own link, so that slow calls of one do not open the breaker of another.
    """
    assert settings.redis_url is not None
    link = RedisLink(settings.redis_url.get_secret_value(), TIMEOUT_SECONDS, Breaker())
    metrics.breakers.labels(purpose).set_function(lambda: link.breaker.state)
    return link
