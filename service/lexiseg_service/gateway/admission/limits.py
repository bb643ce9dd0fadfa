"""Limits of one client: requests per second (a token bucket), at a time, and per day."""

from __future__ import annotations

import ipaddress
import math
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from lexiseg_model.lru import Lru
from lexiseg_service.errors import RateLimited
from lexiseg_service.settings import Settings

MAX_CLIENTS = 65_536  # buckets in memory; the least recently used one is dropped first
BYTES_PER_CLIENT = 250  # of a bucket, approximately
DAY = 86_400  # seconds; a day begins at midnight UTC
ONE_TOKEN = 1 - 1e-9  # tolerates the rounding of many small additions
IPV6_SITE_BITS = 64  # one customer usually has all addresses of a /64


@dataclass(frozen=True)
class Rule:
    """The limits of a client; None switches a limit off. `burst`: requests at once after a pause."""

    rate: float | None = None  # requests per second
    burst: int = 1
    concurrent: int | None = None
    daily: int | None = None  # requests per day

    @classmethod
    def of(cls, settings: Settings) -> Rule:
        """The rule of the settings."""
        rate = settings.rate_limit
        return cls(rate, settings.rate_burst or max(1, math.ceil(rate or 1)), settings.concurrency_limit)

    @property
    def is_on(self) -> bool:
        """Whether it limits anything."""
        return self.rate is not None or self.concurrent is not None or self.daily is not None

    def concurrency_exceeded(self) -> RateLimited:
        """The refusal of one more concurrent request."""
        return RateLimited(f"{self.concurrent} requests of this client are being answered, its limit", 1)

    def rate_exceeded(self, seconds: float) -> RateLimited:
        """The refusal of a request that comes `seconds` too early."""
        return RateLimited(f"more than {self.rate:g} requests a second from this client", max(1, math.ceil(seconds)))

    def quota_exceeded(self, seconds: float) -> RateLimited:
        """The refusal of a request beyond the daily quota; the day ends in `seconds`."""
        return RateLimited(f"{self.daily:,} requests of this client today, its limit", max(1, math.ceil(seconds)))


RuleOf = Callable[[str], Rule]  # of a client


class ClientLimits(Protocol):
    """Limits of every client, counted in one place."""

    def admit(self, client: str) -> AbstractAsyncContextManager[None]:
        """Count a request and hold one of its client's concurrent places meanwhile.

        Raises:
            RateLimited: a limit of the client is reached.
        """
        ...

    async def count(self, client: str) -> None:
        """Count one more request of a client that was admitted, without a place of its own.

        Raises:
            RateLimited: the client's rate or daily quota is reached.
        """
        ...

    @property
    def nbytes(self) -> int:
        """Bytes that the counters take in this process, approximately."""
        ...

    async def close(self) -> None: ...


class MemoryLimits:
    """Counts within this process.

    Args:
        rule_of: the rule of a client.
        clock: seconds, for rates.
        today: seconds since the epoch, for days.
    """

    def __init__(
        self,
        rule_of: RuleOf,
        clock: Callable[[], float] = time.monotonic,
        today: Callable[[], float] = time.time,
    ) -> None:
        self._rule_of = rule_of
        self._clock = clock
        self._today = today
        self._days: Lru[str, tuple[int, int]] = Lru(MAX_CLIENTS)  # day, and requests on it
        self._concurrent: Counter[str] = Counter()
        self._buckets: Lru[str, tuple[float, float]] = Lru(MAX_CLIENTS)  # tokens, and the time of that count

    @asynccontextmanager
    async def admit(self, client: str) -> AsyncIterator[None]:
        """As `ClientLimits.admit`."""
        rule = self._rule_of(client)
        # Checked first: a refusal here must not cost a token.
        if rule.concurrent is not None and self._concurrent[client] >= rule.concurrent:
            raise rule.concurrency_exceeded()
        self._count(client, rule)
        self._concurrent[client] += 1
        try:
            yield
        finally:
            self._concurrent[client] -= 1
            if self._concurrent[client] <= 0:
                del self._concurrent[client]

    async def count(self, client: str) -> None:
        """As `ClientLimits.count`."""
        self._count(client, self._rule_of(client))

    @property
    def nbytes(self) -> int:
        """Bytes of the buckets, approximately."""
        return BYTES_PER_CLIENT * (len(self._days) + len(self._buckets))

    async def close(self) -> None:
        """Nothing to do."""

    def _count(self, client: str, rule: Rule) -> None:
        day, seconds_of_day = divmod(self._today(), DAY)
        last_day, used = self._days.get(client) or (day, 0)
        used = used if last_day == day else 0
        if rule.daily is not None and used >= rule.daily:
            raise rule.quota_exceeded(DAY - seconds_of_day)
        self._take_token(client, rule)
        if rule.daily is not None:
            self._days.put(client, (int(day), used + 1))

    def _take_token(self, client: str, rule: Rule) -> None:
        rate = rule.rate
        if rate is None:
            return
        now = self._clock()
        tokens, since = self._buckets.get(client) or (float(rule.burst), now)
        tokens = min(rule.burst, tokens + (now - since) * rate)
        is_allowed = tokens >= ONE_TOKEN
        self._buckets.put(client, (max(0.0, tokens - is_allowed), now))
        if not is_allowed:
            raise rule.rate_exceeded((1 - tokens) / rate)


@lru_cache(1024)
def client_of(key_id: str | None, address: str | None) -> str:
    """The client that a request counts for: its API key, else its address (of IPv6 the /64)."""
    if key_id is not None:
        return f"key:{key_id}"
    try:
        parsed = ipaddress.ip_address(address or "")
    except ValueError:
        return f"address:{address or 'unknown'}"
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is None:
        return f"address:{ipaddress.ip_network((parsed, IPV6_SITE_BITS), strict=False)}"
    return f"address:{getattr(parsed, 'ipv4_mapped', None) or parsed}"
