"""One way to Redis for work that goes on without it: every call is short, and none is made while Redis is ill.

The client's own timeouts hold for one connect and one read. A whole call is bounded too, connect, name lookup and an
answer that trickles in included: it runs on a thread of its own, and who asked goes away in time.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

import redis
import structlog
from redis.backoff import NoBackoff
from redis.retry import Retry

from lexiseg_service.breaker import Breaker, State
from lexiseg_service.refused_writes import RefusedWrites

logger = structlog.get_logger("lexiseg.redis")
T = TypeVar("T")
WHOLE_CALL = 1.25  # of the client's timeout
# How Redis says that it takes no writes; what comes out of a script keeps the word that the client takes off elsewhere.
NO_WRITES = re.compile(r"\b(OOM|READONLY|MISCONF|NOREPLICAS|NOPERM)\b")
REFUSALS = (redis.OutOfMemoryError, redis.ReadOnlyError, redis.exceptions.NoPermissionError)
TRIAL = "lexiseg:trial"  # the key of a write of our own


class RedisAway(Exception):
    """Redis was not asked: the breaker is open."""


class RedisFailed(RedisAway):
    """Redis was asked, and did not answer, or not in time, or not what was asked for."""


class RedisLink:
    """A bounded client behind a breaker. `clock`: seconds; only its differences matter."""

    def __init__(
        self,
        url: str,
        breaker: Breaker,
        timeout: float,
        threads: int = 4,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.breaker = breaker
        self._writes = RefusedWrites(clock)
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
    def refuses_writes(self) -> bool:
        """As far as is known, while it answers: it is full, or a replica."""
        return bool(self._writes)

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
            if isinstance(error, redis.ResponseError):
                self._hear(error)
            logger.warning("redis failed", error=type(error).__name__)
            if answering is not None and not answering.done():
                answering.cancel()
                self._hang_up()
            raise RedisFailed from error
        self.breaker.success()
        return answer

    def wrote(self) -> None:
        """Redis has taken a write: it refuses them no more."""
        self._writes.taken()

    def heal(self) -> None:
        """Looks in the background whether Redis is back, when that is due. For who watches and has nothing to ask.

        While it refuses writes one is tried now and then.
        """
        with suppress(RuntimeError):  # closed meanwhile
            if self.breaker.probe_is_due:
                self._threads.submit(self._look)
            elif self._writes.trial_is_due():
                self._threads.submit(self._try_to_write)

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

    def _hear(self, error: redis.ResponseError) -> None:
        """Whether an error says that no write is taken."""
        if isinstance(error, REFUSALS) or NO_WRITES.search(str(error)):
            self._writes.refused()

    def _try_to_write(self) -> None:
        if not self.breaker.allow():
            return
        try:
            self._redis.set(TRIAL, b"1", px=1000)
        except redis.ResponseError as error:  # it answers
            self._hear(error)
        except Exception:
            self.breaker.failure()
        else:
            self.breaker.success()
            self.wrote()

    def _hang_up(self) -> None:
        """Ends the calls that still wait for a byte, so that their threads are free."""
        self._redis.connection_pool.disconnect(inuse_connections=True)
