"""The limits of one client counted in Redis, for all gateways together; in this process while Redis is away."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, cast

from redis import Redis

from lexiseg_service.gateway.admission.limits import MemoryGate, Rule, RuleOf, each
from lexiseg_service.redis_link import RedisAway, RedisLink

# Redis's own clock: those of the gateways differ. A place is a lease, so that a gateway that dies gives its places
# back. KEYS: bucket, places, day. ARGV: rate, burst, concurrent, daily (0: off), seconds of a lease, ticket.
ENTER = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6
local rate, burst, concurrent, daily = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local day = math.floor(time[1] / 86400)
if concurrent > 0 then
  redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
  if redis.call('ZCARD', KEYS[2]) >= concurrent then return {'at once', '0'} end
end
if daily > 0 then
  local used = redis.call('HMGET', KEYS[3], 'day', 'used')
  if tonumber(used[1] or -1) ~= day then
    redis.call('HSET', KEYS[3], 'day', day, 'used', 0)
    redis.call('EXPIRE', KEYS[3], 172800)
  elseif tonumber(used[2]) >= daily then
    return {'today', tostring((day + 1) * 86400 - time[1])}
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
  if left == tokens then return {'often', string.format('%.6f', (1 - tokens) / rate)} end
end
if daily > 0 then redis.call('HINCRBY', KEYS[3], 'used', 1) end
if concurrent > 0 then
  redis.call('ZADD', KEYS[2], now + ARGV[5], ARGV[6])
  redis.call('PEXPIRE', KEYS[2], math.ceil(1000 * ARGV[5]) + 1000)
end
return {'in', '0'}
"""
# A lease that is still held begins anew; one that was given back meanwhile does not come to life. KEYS: places. ARGV:
# seconds of a lease, ticket.
RENEW = """
if redis.call('ZSCORE', KEYS[1], ARGV[2]) then
  local time = redis.call('TIME')
  redis.call('ZADD', KEYS[1], time[1] + time[2] / 1e6 + ARGV[1], ARGV[2])
  redis.call('PEXPIRE', KEYS[1], math.ceil(1000 * ARGV[1]) + 1000)
end
"""
RENEWALS = 3  # of a lease, before it would end


class RedisGate:
    """One round trip to Redis for a request, and one more behind it where requests at a time are limited.

    Places of those who stay for long, as video streams do, are renewed beside them.
    """

    def __init__(self, rule: Rule | RuleOf, link: RedisLink, lease_seconds: float) -> None:
        self._rule_of = each(rule)
        self._link = link
        self._lease = lease_seconds
        self._alone = MemoryGate(rule)
        self._held: dict[str, str] = {}  # ticket to client
        self._renewing: asyncio.Task[None] | None = None

    async def enter(self, client: str) -> str:
        """Lets a client in.

        Raises:
            RateLimited: the client asks too often, or too much at once.
        """
        rule = self._rule_of(client)
        if not rule.on:
            return await self._alone.enter(client)
        ticket = uuid.uuid4().hex
        try:
            await self._ask(client, rule, ticket)
        except RedisAway:
            return await self._alone.enter(client)
        if rule.concurrent is not None:
            self._held[ticket] = client
            if self._renewing is None:
                self._renewing = asyncio.create_task(self._renew_forever())
        return ticket

    async def count(self, client: str) -> None:
        """One request more of a client who is in.

        Raises:
            RateLimited: the client asks too often.
        """
        rule = replace(self._rule_of(client), concurrent=None)
        if not rule.on:
            return
        try:
            await self._ask(client, rule, "")
        except RedisAway:
            await self._alone.count(client)

    async def _ask(self, client: str, rule: Rule, ticket: str) -> None:
        """Counts a request in Redis, and takes a place where the rule has any.

        Raises:
            RateLimited: the client asks too often, or too much at once.
            RedisAway: nothing is known.
        """
        arguments = (rule.rate or 0, rule.burst, rule.concurrent or 0, rule.daily or 0, self._lease, ticket)
        verdict = await asyncio.to_thread(
            self._link.ask, lambda redis: cast("Any", redis.eval(ENTER, 3, *_keys(client), *arguments))
        )
        if verdict[0] == b"at once":
            raise rule.too_many()
        if verdict[0] == b"often":
            raise rule.too_often(float(verdict[1]))
        if verdict[0] == b"today":
            raise rule.too_many_today(float(verdict[1]))

    async def leave(self, client: str, ticket: str) -> None:
        """Lets a client out, of where it was let in."""
        held = self._held.pop(ticket, None)
        if not ticket:
            await self._alone.leave(client, ticket)
        elif held is not None:
            with suppress(RedisAway):  # the lease ends by itself
                await asyncio.to_thread(self._link.ask, lambda redis: redis.zrem(_keys(client)[1], ticket))

    @property
    def nbytes(self) -> int:
        """Bytes of what is known of clients here, as long as Redis is away."""
        return self._alone.nbytes

    async def close(self) -> None:
        """Hangs up."""
        if self._renewing is not None:
            self._renewing.cancel()
        self._link.close()

    async def _renew_forever(self) -> None:
        while True:
            before = set(self._held)
            await asyncio.sleep(self._lease / RENEWALS)
            held = {ticket: client for ticket, client in self._held.items() if ticket in before}
            if held:
                with suppress(RedisAway):  # the next time, or the lease ends
                    await asyncio.to_thread(self._link.ask, partial(_renew, held=held, lease=self._lease))


def _renew(redis: Redis, *, held: Mapping[str, str], lease: float) -> None:
    """In one round trip for all of them."""
    pipeline = redis.pipeline(transaction=False)
    for ticket, client in held.items():
        pipeline.eval(RENEW, 1, _keys(client)[1], str(lease), ticket)
    pipeline.execute()


def _keys(client: str) -> tuple[str, str, str]:
    place = f"lexiseg:limit:{{{client}}}"
    return f"{place}:rate", f"{place}:places", f"{place}:day"
