"""Rate limits of a client: requests per second, concurrent requests, and requests per day.

The rate is a token bucket kept as one number (GCRA, ITU-T I.371): the time at which the requests so far would be over,
had they come at the rate. A request that would move it more than a burst ahead is refused.

Counted in Redis for all gateways together, or in this process if there is no Redis or it does not answer.
"""

from __future__ import annotations

import asyncio
import ipaddress
import math
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from operator import methodcaller
from typing import Any

from lexiseg_model.resources.lru import Lru
from lexiseg_service.errors import RateLimited
from lexiseg_service.redis_link import RedisAway, RedisLink
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
        """The rule of the settings."""
        rate = settings.rate_limit
        return cls(rate, max(1, math.ceil((rate or 1) * BURST_SECONDS)), settings.concurrency_limit)

    @property
    def is_on(self) -> bool:
        """Whether any limit is set."""
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
    """Limits of every client, counted within this process.

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
        self._due: Lru[str, float] = Lru(MAX_CLIENTS)  # when the requests so far are spread out at the rate

    @asynccontextmanager
    async def admit(self, client: str) -> AsyncIterator[None]:
        """Count a request, and hold one of the client's concurrent places while the block runs.

        Raises:
            RateLimited: a limit of the client is reached.
        """
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
        """Count one more request of an admitted client, without another concurrent place.

        Raises:
            RateLimited: the client's rate or daily quota is reached.
        """
        self._count(client, self._rule_of(client))

    @property
    def nbytes(self) -> int:
        """Bytes of the counts, approximately."""
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


# The clock is Redis's own, because the gateways' differ. A concurrent place is a lease, so that the places of a
# gateway that dies expire. KEYS: due, places, day. ARGV: rate, burst, concurrent, daily (0: off), lease, ticket.
ADMIT = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6
local rate, burst, concurrent, daily = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local day = math.floor(time[1] / 86400)
if concurrent > 0 then
  redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
  if redis.call('ZCARD', KEYS[2]) >= concurrent then return {'concurrent', '0'} end
end
if daily > 0 then
  local used = redis.call('HMGET', KEYS[3], 'day', 'used')
  if tonumber(used[1] or -1) ~= day then
    redis.call('HSET', KEYS[3], 'day', day, 'used', 0)
    redis.call('EXPIRE', KEYS[3], 172800)
  elseif tonumber(used[2]) >= daily then
    return {'daily', tostring((day + 1) * 86400 - time[1])}
  end
end
if rate > 0 then
  local due = math.max(now, tonumber(redis.call('GET', KEYS[1]) or now)) + 1 / rate
  local early = due - now - burst / rate
  if early > 1e-6 then return {'rate', string.format('%.6f', early)} end
  redis.call('SET', KEYS[1], string.format('%.6f', due), 'PX', math.ceil(1000 * (due - now)) + 1000)
end
if daily > 0 then redis.call('HINCRBY', KEYS[3], 'used', 1) end
if concurrent > 0 then
  redis.call('ZADD', KEYS[2], now + ARGV[5], ARGV[6])
  redis.call('PEXPIRE', KEYS[2], math.ceil(1000 * ARGV[5]) + 1000)
end
return {'ok', '0'}
"""
RENEWALS = 3  # of a lease, before it would expire


class RedisLimits(ClientLimits):
    """Counts in Redis, and within this process while Redis is away.

    One round trip a request, and a second one at its end where concurrent requests are limited. The leases of long
    calls, as video streams, are renewed in the background.
    """

    def __init__(self, rule_of: RuleOf, link: RedisLink, lease_seconds: float) -> None:
        super().__init__(rule_of)
        self._link = link
        self._lease = lease_seconds

    @asynccontextmanager
    async def admit(self, client: str) -> AsyncIterator[None]:
        """As `ClientLimits.admit`."""
        rule = self._rule_of(client)
        if not rule.is_on:
            yield
            return
        ticket = uuid.uuid4().hex
        try:
            await self._ask(client, rule, ticket)
        except RedisAway:
            async with super().admit(client):
                yield
            return
        if rule.concurrent is None:
            yield
            return
        renewing = asyncio.create_task(self._renew_forever(client, ticket))
        try:
            yield
        finally:
            renewing.cancel()
            with suppress(RedisAway):  # the lease expires by itself
                await self._link.ask(methodcaller("zrem", _keys(client)[1], ticket))

    async def count(self, client: str) -> None:
        """As `ClientLimits.count`."""
        rule = replace(self._rule_of(client), concurrent=None)
        if not rule.is_on:
            return
        try:
            await self._ask(client, rule, "")
        except RedisAway:
            await super().count(client)

    async def close(self) -> None:
        """Close the connections."""
        self._link.close()

    async def _ask(self, client: str, rule: Rule, ticket: str) -> None:
        """Count a request in Redis, and take a concurrent place where the rule limits them."""
        arguments = (rule.rate or 0, rule.burst, rule.concurrent or 0, rule.daily or 0, self._lease, ticket)
        limit, seconds = await self._link.ask(methodcaller("eval", ADMIT, 3, *_keys(client), *arguments))
        if limit != b"ok":
            raise rule.refusal(limit.decode(), float(seconds))

    async def _renew_forever(self, client: str, ticket: str) -> None:
        while True:
            await asyncio.sleep(self._lease / RENEWALS)
            with suppress(RedisAway):  # renewed next time, or the lease expires
                await self._link.ask(partial(_renew, client=client, ticket=ticket, lease=self._lease))


def _renew(redis: Any, client: str, ticket: str, lease: float) -> None:
    """Extend a lease if it is still held."""
    places, (seconds, microseconds) = _keys(client)[1], redis.time()
    redis.zadd(places, {ticket: seconds + microseconds / 1e6 + lease}, xx=True)
    redis.pexpire(places, math.ceil(1000 * lease) + 1000)


def _keys(client: str) -> tuple[str, str, str]:
    place = f"lexiseg:limit:{{{client}}}"
    return f"{place}:due", f"{place}:places", f"{place}:day"


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
