"""Rate limits of a client: requests per second, concurrent requests, and requests per day.

The rate is a token bucket kept as one number (GCRA, ITU-T I.371): the time at which the requests so far would be over,
had they come at the rate. A request that would move it more than a burst ahead is refused.

Counted in this process; `redis_limits` counts for all gateways together.
"""

from __future__ import annotations

import ipaddress
import math
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from lexiseg_model.resources.lru import Lru
from lexiseg_service.errors import RateLimited
from lexiseg_service.settings import Settings

MAX_CLIENTS = 65_536  # in memory; the least recently used one is dropped first
BYTES_PER_CLIENT = 250  # of a count, approximately
BURST_SECONDS = 1  # after a pause, requests of so long may come at once
DAY = 86_400  # seconds; a day begins at midnight UTC
ROUNDING_SECONDS = 1e-6  # tolerates the rounding of many small additions
IPV6_SITE_BITS = 64  # one customer usually has all addresses of a /64


@dataclass(frozen=True)
class Rule:
    """The limits of a client; None switches a limit off. `burst`: requests at once after a pause."""

    rate: float | None = None  # requests per second
    burst: int = 1
    concurrent: int | None = None
    daily: int | None = None  # requests per day

    @classmethod
    def from_settings(cls, settings: Settings) -> Rule:
        rate = settings.rate_limit
        return cls(rate, max(1, math.ceil((rate or 1) * BURST_SECONDS)), settings.concurrency_limit)

    @property
    def is_on(self) -> bool:
        return self.rate is not None or self.concurrent is not None or self.daily is not None

    def refusal(self, limit: str, seconds: float) -> RateLimited:
        """The refusal of a request beyond `concurrent`, `rate` or `daily`, which may come again after `seconds`."""
        details = {
            "concurrent": f"{self.concurrent} requests of this client are being answered, its limit",
            "rate": f"more than {self.rate or 0:g} requests a second from this client",
            "daily": f"{self.daily or 0:,} requests of this client today, its limit",
        }
        return RateLimited(details[limit], max(1, math.ceil(seconds)))


RuleOf = Callable[[str], Rule]  # of a client


class ClientLimits:
    """Limits of every client, counted within this process."""

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
        self._due: Lru[str, float] = Lru(MAX_CLIENTS)  # when the requests so far are spread out at the rate

    @asynccontextmanager
    async def admit(self, client: str) -> AsyncIterator[None]:
        """Count a request, and hold one of the client's concurrent places while the block runs."""
        rule = self._rule_of(client)
        # Checked first: a refusal here must not cost a token.
        if rule.concurrent is not None and self._concurrent[client] >= rule.concurrent:
            raise rule.refusal("concurrent", 1)
        self._count(client, rule)
        self._concurrent[client] += 1
        try:
            yield
        finally:
            self._concurrent[client] -= 1
            if self._concurrent[client] <= 0:
                del self._concurrent[client]

    async def count(self, client: str) -> None:
        """Count one more request of an admitted client, without another concurrent place."""
        self._count(client, self._rule_of(client))

    @property
    def nbytes(self) -> int:
        return BYTES_PER_CLIENT * (len(self._days) + len(self._due))

    async def close(self) -> None:
        """Close the connections."""

    def _count(self, client: str, rule: Rule) -> None:
        if not rule.is_on:
            return
        day, seconds_of_day = divmod(self._today(), DAY)
        last_day, used = self._days.get(client) or (day, 0)
        used = used if last_day == day else 0
        if rule.daily is not None and used >= rule.daily:
            raise rule.refusal("daily", DAY - seconds_of_day)
        if rule.rate is not None:
            now = self._clock()
            due = max(now, self._due.get(client) or now) + 1 / rule.rate
            if (early := due - now - rule.burst / rule.rate) > ROUNDING_SECONDS:
                raise rule.refusal("rate", early)
            self._due.put(client, due)
        if rule.daily is not None:
            self._days.put(client, (int(day), used + 1))


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
