"""One way to Redis for work that goes on without it: every call is short, and none is made while Redis is ill.

The client's own timeouts hold for one connect and one read. A whole call is bounded too, connect, name lookup and an
answer that trickles in included: it runs on a thread of its own, and who asked goes away in time.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

import redis
import structlog
from redis.backoff import NoBackoff
from redis.retry import Retry

from lexiseg_service.breaker import Breaker, State

logger = structlog.get_logger("lexiseg.redis")
T = TypeVar("T")
WHOLE_CALL = 1.25  # of the client's timeout


class RedisAway(Exception):
    """Redis was not asked: the breaker is open."""


class RedisFailed(RedisAway):
    """Redis was asked, and did not answer, or not in time, or not what was asked for."""


class RedisLink:
    """A bounded client behind a breaker."""

    def __init__(self, url: str, breaker: Breaker, timeout: float, threads: int = 4) -> None:
        self.breaker = breaker
        self._whole_call = WHOLE_CALL * timeout
        self._redis = redis.Redis.from_url(
            url,
            socket_connect_timeout=timeout,
            socket_timeout=timeout,
            retry=Retry(NoBackoff(), 0),  # the breaker's business
            protocol=2,  # and no driver info: a new connection costs no round trips of its own
            driver_info=None,
        )
        self._threads = ThreadPoolExecutor(threads, "redis")

    @property
    def away(self) -> bool:
        """Whether Redis is given up at the moment."""
        return self.breaker.state is not State.CLOSED

    def ask(self, call: Callable[[redis.Redis], T]) -> T:
        """What `call` makes of the client.

        Raises:
            RedisFailed: it raised, whatever it was, or took too long.
            RedisAway: the breaker is open; nothing was asked.
        """
        if not self.breaker.allow():
            raise RedisAway
        answering: Future[T] | None = None
        try:
            answering = self._threads.submit(call, self._redis)
            answer = answering.result(self._whole_call)
        except Exception as error:  # whatever it is: a server that talks nonsense makes the client raise anything
            self.breaker.failure()
            logger.warning("redis failed", error=type(error).__name__)
            if answering is not None and not answering.done():
                answering.cancel()
                self._hang_up()
            raise RedisFailed from error
        self.breaker.success()
        return answer

    def heal(self) -> None:
        """Looks in the background whether Redis is back, when that is due. For who watches and has nothing to ask."""
        if self.breaker.probe_is_due:
            with suppress(RuntimeError):  # closed meanwhile
                self._threads.submit(self._look)

    def close(self) -> None:
        """Hangs up; waits for nobody."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._hang_up()

    def _look(self) -> None:
        if not self.breaker.allow():
            return
        try:
            self._redis.ping()
        except Exception:
            self.breaker.failure()
        else:
            self.breaker.success()

    def _hang_up(self) -> None:
        """Ends the calls that still wait for a byte, so that their threads are free."""
        self._redis.connection_pool.disconnect(inuse_connections=True)
