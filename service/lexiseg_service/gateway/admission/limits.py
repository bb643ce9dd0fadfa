"""What one client may ask, by any protocol: requests a second (a token bucket), at a time, and a day."""

from __future__ import annotations

import ipaddress
import math
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from lexiseg_model.lru import Lru
from lexiseg_service.errors import RateLimited
from lexiseg_service.settings import Settings

MOST_CLIENTS = 65_536  # buckets held; the one not asked for longest is forgotten first
BYTES_OF_A_CLIENT = 250  # in a bucket: its name, two numbers, and its place in the order
DAY = 86_400  # seconds; days are those of UTC
ONE = 1 - 1e-9  # token: many small additions lose the last digits of a float
IPV6_SITE = 64  # bits; one customer commonly has all addresses behind them


@dataclass(frozen=True)
class Rule:
    """None switches a limit off. `burst` is what a client may ask at once after a pause."""

    rate: float | None = None  # requests a second
    burst: int = 1
    concurrent: int | None = None
    daily: int | None = None  # requests a day

    @classmethod
    def of(cls, settings: Settings) -> Rule:
        """The rule that the settings ask for."""
        rate = settings.rate_limit
        return cls(rate, settings.rate_burst or max(1, math.ceil(rate or 1)), settings.concurrency_limit)

    @property
    def on(self) -> bool:
        """Whether it limits anything."""
        return self.rate is not None or self.concurrent is not None or self.daily is not None

    def too_many(self) -> RateLimited:
        """The refusal of one request more at a time."""
        return RateLimited(f"{self.concurrent} requests of this client are being answered, its limit", 1)

    def too_often(self, seconds: float) -> RateLimited:
        """The refusal of a request that comes `seconds` too early."""
        return RateLimited(f"more than {self.rate:g} requests a second from this client", max(1, math.ceil(seconds)))

    def too_many_today(self, seconds: float) -> RateLimited:
        """The refusal of a request beyond the day's, which ends in so many seconds."""
        return RateLimited(f"{self.daily:,} requests of this client today, its limit", max(1, math.ceil(seconds)))


RuleOf = Callable[[str], Rule]  # of a client


class Gate(Protocol):
    """Lets a client in, and out again."""

    async def enter(self, client: str) -> str:
        """A ticket for `leave`.

        Raises:
            RateLimited: the client asks too often, or too much at once.
        """
        ...

    async def leave(self, client: str, ticket: str) -> None: ...

    async def count(self, client: str) -> None:
        """One request more of a client who is in, within the place that he has.

        Raises:
            RateLimited: the client asks too often.
        """
        ...

    @property
    def nbytes(self) -> int:
        """Bytes of what is known of clients here, nearly."""
        ...

    async def close(self) -> None: ...


class MemoryGate:
    """Counts within this process.

    Args:
        rule: of every client, or what gives the rule of each.
        clock: seconds, of rates.
        today: seconds since the epoch, of days.
    """

    def __init__(
        self,
        rule: Rule | RuleOf,
        clock: Callable[[], float] = time.monotonic,
        today: Callable[[], float] = time.time,
    ) -> None:
        self._rule_of = each(rule)
        self._clock = clock
        self._today = today
        self._days: Lru[str, tuple[int, int]] = Lru(MOST_CLIENTS)  # day, and requests on it
        self._inside: Counter[str] = Counter()
        self._buckets: Lru[str, tuple[float, float]] = Lru(MOST_CLIENTS)  # tokens, and when there were so many

    async def enter(self, client: str) -> str:
        """Lets a client in.

        Raises:
            RateLimited: the client asks too often, or too much at once.
        """
        rule = self._rule_of(client)
        # First: a refusal here must not cost a token.
        if rule.concurrent is not None and self._inside[client] >= rule.concurrent:
            raise rule.too_many()
        self._count(client, rule)
        self._inside[client] += 1
        return ""

    async def count(self, client: str) -> None:
        """One request more of a client who is in.

        Raises:
            RateLimited: the client asks too often.
        """
        self._count(client, self._rule_of(client))

    def _count(self, client: str, rule: Rule) -> None:
        day, left = divmod(self._today(), DAY)
        known, used = self._days.get(client) or (day, 0)
        used = used if known == day else 0
        if rule.daily is not None and used >= rule.daily:
            raise rule.too_many_today(DAY - left)
        self._take(client, rule)
        if rule.daily is not None:
            self._days.put(client, (int(day), used + 1))

    async def leave(self, client: str, ticket: str) -> None:
        """Lets a client out."""
        self._inside[client] -= 1
        if self._inside[client] <= 0:
            del self._inside[client]

    @property
    def nbytes(self) -> int:
        """Bytes of what is known of clients, nearly."""
        return BYTES_OF_A_CLIENT * (len(self._days) + len(self._buckets))

    async def close(self) -> None:
        """Nothing to do."""

    def _take(self, client: str, rule: Rule) -> None:
        rate = rule.rate
        if rate is None:
            return
        now = self._clock()
        tokens, since = self._buckets.get(client) or (float(rule.burst), now)
        tokens = min(rule.burst, tokens + (now - since) * rate)
        allowed = tokens >= ONE
        self._buckets.put(client, (max(0.0, tokens - allowed), now))
        if not allowed:
            raise rule.too_often((1 - tokens) / rate)


def each(rule: Rule | RuleOf) -> RuleOf:
    """One rule for every client, where it is no rule of each."""
    return (lambda client: rule) if isinstance(rule, Rule) else rule


@asynccontextmanager
async def admitted(gate: Gate, client: str) -> AsyncIterator[None]:
    """Holds a place while a request is answered.

    Raises:
        RateLimited: there is none.
    """
    ticket = await gate.enter(client)
    try:
        yield
    finally:
        await gate.leave(client, ticket)


@lru_cache(1024)
def client_of(key_id: str | None, address: str | None) -> str:
    """Whom a request counts for: its key, else its address (of IPv6 the site's part)."""
    if key_id is not None:
        return f"key:{key_id}"
    try:
        parsed = ipaddress.ip_address(address or "")
    except ValueError:
        return f"address:{address or 'unknown'}"
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is None:
        return f"address:{ipaddress.ip_network((parsed, IPV6_SITE), strict=False)}"
    return f"address:{getattr(parsed, 'ipv4_mapped', None) or parsed}"
