"""Limits of one client counted in Redis, for all gateways together; in this process while Redis is away."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any, cast

from redis import Redis

from lexiseg_service.gateway.admission.limits import MemoryLimits, Rule, RuleOf
from lexiseg_service.redis_link import RedisAway, RedisLink

# The clock is Redis's own, because those of the gateways differ. A concurrent place is a lease, so that the places of a
# gateway that dies expire. KEYS: bucket, places, day. ARGV: rate, burst, concurrent, daily (0: off), lease, ticket.
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
  local held = redis.call('HMGET', KEYS[1], 'tokens', 'since')
  local tokens = tonumber(held[1] or burst) + math.max(0, now - tonumber(held[2] or now)) * rate
  tokens = math.min(burst, tokens)
  local left = tokens
  if tokens >= 1 - 1e-9 then left = math.max(0, tokens - 1) end
  redis.call('HSET', KEYS[1], 'tokens', string.format('%.9f', left), 'since', string.format('%.6f', now))
  redis.call('PEXPIRE', KEYS[1], math.ceil(1000 * burst / rate) + 1000)
  if left == tokens then return {'rate', string.format('%.6f', (1 - tokens) / rate)} end
end
if daily > 0 then redis.call('HINCRBY', KEYS[3], 'used', 1) end
if concurrent > 0 then
  redis.call('ZADD', KEYS[2], now + ARGV[5], ARGV[6])
  redis.call('PEXPIRE', KEYS[2], math.ceil(1000 * ARGV[5]) + 1000)
end
return {'ok', '0'}
"""
# Extends a lease that is still held, and no other. KEYS: places. ARGV: lease seconds, ticket.
RENEW = """
if redis.call('ZSCORE', KEYS[1], ARGV[2]) then
  local time = redis.call('TIME')
  redis.call('ZADD', KEYS[1], time[1] + time[2] / 1e6 + ARGV[1], ARGV[2])
  redis.call('PEXPIRE', KEYS[1], math.ceil(1000 * ARGV[1]) + 1000)
end
"""
RENEWALS = 3  # of a lease, before it would expire


class RedisLimits:
    """One round trip to Redis per request, and a second one at its end where concurrent requests are limited.

    The leases of long calls, as video streams, are renewed in the background.
    """

    def __init__(self, rule_of: RuleOf, link: RedisLink, lease_seconds: float) -> None:
        self._rule_of = rule_of
        self._link = link
        self._lease = lease_seconds
        self._local = MemoryLimits(rule_of)  # while Redis is away
        self._leases: dict[str, str] = {}  # ticket to client
        self._renewing: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def admit(self, client: str) -> AsyncIterator[None]:
        """As `ClientLimits.admit`."""
        rule = self._rule_of(client)
        if not rule.is_on:
            yield
            return
        ticket = uuid.uuid4().hex
        try:
            await self._count(client, rule, ticket)
        except RedisAway:
            async with self._local.admit(client):
                yield
            return
        if rule.concurrent is not None:
            self._leases[ticket] = client
            if self._renewing is None:
                self._renewing = asyncio.create_task(self._renew_forever())
        try:
            yield
        finally:
            if self._leases.pop(ticket, None) is not None:
                with suppress(RedisAway):  # the lease expires by itself
                    await asyncio.to_thread(self._link.ask, lambda redis: redis.zrem(_keys(client)[1], ticket))

    async def count(self, client: str) -> None:
        """As `ClientLimits.count`."""
        rule = replace(self._rule_of(client), concurrent=None)
        if not rule.is_on:
            return
        try:
            await self._count(client, rule, "")
        except RedisAway:
            await self._local.count(client)

    @property
    def nbytes(self) -> int:
        """Bytes of the buckets in this process."""
        return self._local.nbytes

    async def close(self) -> None:
        """Close the connections."""
        if self._renewing is not None:
            self._renewing.cancel()
        self._link.close()

    async def _count(self, client: str, rule: Rule, ticket: str) -> None:
        """Count a request in Redis, and take a concurrent place where the rule limits them.

        Raises:
            RateLimited: a limit of the client is reached.
            RedisAway: Redis did not answer.
        """
        arguments = (rule.rate or 0, rule.burst, rule.concurrent or 0, rule.daily or 0, self._lease, ticket)
        verdict = await asyncio.to_thread(
            self._link.ask, lambda redis: cast("Any", redis.eval(ADMIT, 3, *_keys(client), *arguments))
        )
        if verdict[0] == b"concurrent":
            raise rule.concurrency_exceeded()
        if verdict[0] == b"rate":
            raise rule.rate_exceeded(float(verdict[1]))
        if verdict[0] == b"daily":
            raise rule.quota_exceeded(float(verdict[1]))

    async def _renew_forever(self) -> None:
        while True:
            known = set(self._leases)
            await asyncio.sleep(self._lease / RENEWALS)
            held = {ticket: client for ticket, client in self._leases.items() if ticket in known}
            if held:
                with suppress(RedisAway):  # renewed next time, or the lease expires
                    await asyncio.to_thread(self._link.ask, partial(_renew, held=held, lease=self._lease))


def _renew(redis: Redis, *, held: Mapping[str, str], lease: float) -> None:
    """Renew all leases in one round trip."""
    pipeline = redis.pipeline(transaction=False)
    for ticket, client in held.items():
        pipeline.eval(RENEW, 1, _keys(client)[1], str(lease), ticket)
    pipeline.execute()


def _keys(client: str) -> tuple[str, str, str]:
    place = f"lexiseg:limit:{{{client}}}"
    return f"{place}:rate", f"{place}:places", f"{place}:day"
