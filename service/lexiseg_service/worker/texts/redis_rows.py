"""The second tier of the text cache: rows that all workers share through Redis.

A worker that misses a text claims it before encoding (SET NX PX), so that a fleet that meets a vocabulary encodes it
once. A claim is never taken back, it lapses: whoever claims a text next is told its row in the same round trip. Where
the row is damaged nobody knows whether its claimant will come to mend it: it is encoded where it is found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import redis
from pydantic import SecretStr

from lexiseg_service.breaker import Breaker
from lexiseg_service.redis_link import RedisAway, RedisFailed, RedisLink
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.worker.texts import row_codec
from lexiseg_service.worker.texts.tiers import Claim, Count, TextRows

CLAIM_PREFIX = "lexiseg:text-claim:v1:"
CLAIM_SECONDS = 10.0  # longer than a tower takes for a chunk; a worker that dies costs the others their patience
AT_ONCE = 1024  # keys of a round trip: at 384 numbers a row, 0.8 MB


class RedisTier:
    """Rows of all text towers in Redis, over one link."""

    def __init__(self, link: RedisLink, ttl_seconds: int, count: Count) -> None:
        self._link = link
        self._ttl = ttl_seconds
        self._count = count

    @property
    def degraded(self) -> bool:
        """Whether Redis is given up, or takes no rows, at the moment; who asks often hears when that is over."""
        self._link.heal()
        return self._link.away or self._link.refuses_writes

    def of(self, tower: str) -> RedisRows:
        """The rows of one tower, by the digest of its weights."""
        return RedisRows(self._link, tower, self._ttl, self._count)

    def close(self) -> None:
        self._link.close()


class RedisRows:
    """Rows of one text tower in Redis."""

    def __init__(self, link: RedisLink, tower: str, ttl_seconds: int, count: Count) -> None:
        self._link = link
        self._tower = tower
        self._ttl = ttl_seconds
        self._count = count

    def visit(self, width: int) -> Visit:
        """For one lookup of rows of `width` numbers."""
        return Visit(self._link, self._tower, self._ttl, self._count, width)


class Visit:
    """One lookup's use of Redis. After its first failure it asks no more: one lookup waits for at most one timeout."""

    def __init__(self, link: RedisLink, tower: str, ttl_seconds: int, count: Count, width: int) -> None:
        self._link = link
        self._tower = tower
        self._ttl = ttl_seconds
        self._count = count
        self._width = width
        self._over = False

    def find(self, texts: Sequence[str]) -> TextRows:
        """Rows of those texts that Redis knows."""
        rows: TextRows = {}
        for some in _lots(texts):
            names = self._addresses(some)
            keys = [row_codec.key(name) for name in names]
            values = self._ask(lambda client, keys=keys: _listed(client.mget(keys), len(keys)), len(some))
            if values is None:
                break
            decoded = self._decode(some, names, values)
            damaged = sum(value is not None for value in values) - len(decoded)
            self._count("redis", "hit", len(decoded))
            self._count("redis", "miss", len(some) - len(decoded) - damaged)
            self._count("redis", "error", damaged)
            rows |= decoded
        return rows

    def claim(self, texts: Sequence[str]) -> Claim:
        """Asks to be the one who encodes the texts."""
        names = self._addresses(texts)

        def call(client: redis.Redis) -> list[Any]:
            pipe = client.pipeline(transaction=False)
            for name in names:
                pipe.set(CLAIM_PREFIX + name.hex(), b"1", nx=True, px=round(1e3 * CLAIM_SECONDS))
            pipe.mget([row_codec.key(name) for name in names])  # after the claims: what came before them is seen
            *claims, values = _listed(pipe.execute(raise_on_error=False), len(names) + 1)
            return [*claims, *_listed(values, len(names))]

        replies = self._ask(call, len(texts))
        if replies is None:
            return Claim({}, list(texts), [])
        values = replies[len(texts) :]
        rows = self._decode(texts, names, values)
        # Only a plain "no" leaves a text to somebody else; an error of Redis does not.
        claimed = {
            text
            for text, reply, value in zip(texts, replies, values, strict=False)
            if reply is None and value is None and text not in rows
        }
        mine = [text for text in texts if text not in rows and text not in claimed]
        return Claim(rows, mine, [text for text in texts if text in claimed])

    def keep(self, rows: TextRows) -> None:
        """Writes fresh rows, over whatever was there."""
        values = {
            row_codec.key(name): row_codec.encode(name, row)
            for name, row in zip(self._addresses(list(rows)), rows.values(), strict=True)
        }

        def call(client: redis.Redis) -> bool:
            pipe = client.pipeline(transaction=False)
            for key, value in values.items():
                pipe.set(key, value, ex=self._ttl)
            pipe.execute()
            return True

        if self._ask(call, len(rows)):
            self._link.wrote()

    def _ask(self, call: Callable[..., Any], n_texts: int) -> Any:
        """The call's answer; None once Redis has failed or is away."""
        if self._over:
            return None
        try:
            return self._link.ask(call)
        except RedisFailed:
            self._over = True
            self._count("redis", "error", n_texts)
        except RedisAway:
            self._over = True
        return None

    def _addresses(self, texts: Sequence[str]) -> list[bytes]:
        return [row_codec.address(self._tower, text) for text in texts]

    def _decode(self, texts: Sequence[str], names: list[bytes], values: list[Any]) -> TextRows:
        rows = {
            text: row_codec.decode(name, value, self._width)
            for text, name, value in zip(texts, names, values, strict=True)
        }
        return {text: row for text, row in rows.items() if row is not None}


def open_tier(address: SecretStr, settings: Settings, metrics: Metrics) -> RedisTier:
    """The tier at an address, as the settings say."""
    breaker = Breaker(
        settings.redis_breaker_failures, settings.redis_breaker_seconds, changed=metrics.breaker("text_cache")
    )
    threads = settings.finish_threads + 2
    link = RedisLink(address.get_secret_value(), breaker, settings.redis_timeout_seconds, threads)
    return RedisTier(link, settings.text_cache_ttl_seconds, metrics.texts)


def _lots(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    return (texts[start : start + AT_ONCE] for start in range(0, len(texts), AT_ONCE))


def _listed(reply: Any, n: int) -> list[Any]:
    if isinstance(reply, Exception):
        raise reply
    if not isinstance(reply, list) or len(reply) != n:
        raise redis.InvalidResponse(f"expected a list of {n}")
    return reply
