"""Records in Redis, for all gateways of an installation.

    lexiseg:KINDS           set: ids
    lexiseg:KINDS:rows      hash: records by id, without bodies
    lexiseg:KIND:ID         string: a body
    lexiseg:KIND:parts:ID   hash: items by name

Vocabularies and heads of 0.4 have the same keys, some without a row; gateways of both releases work side by side.
A transaction watches the keys that it reads (WATCH), writes in one step (MULTI, EXEC), and is repeated if another
client has written to them meanwhile. No key has a TTL, so that Redis evicts none (`volatile-lru`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from operator import methodcaller
from typing import Any, TypeVar

import orjson

from lexiseg_service.records.store import Record, StoreAway, StoreFull, Transaction, locked
from lexiseg_service.redis_link import RedisAway, RedisFull, RedisLink, try_write

T = TypeVar("T")
PLURALS = {"vocabulary": "vocabularies"}
REMOVALS = ("UNLINK", "HDEL", "SREM")  # need no memory


class RedisTransaction:
    """As `Transaction`; `commands` are sent at its end. Without a pipeline it only reads."""

    def __init__(self, client: Any, pipe: Any = None) -> None:
        self._client = client
        self._pipe = pipe
        self.commands: list[tuple[Any, ...]] = []

    def watch(self, *keys: str) -> Any:
        """A client for reading keys, of which a change repeats the transaction."""
        if self._pipe is None:
            return self._client
        self._pipe.watch(*keys)
        return self._pipe

    def read(self, kind: str, identity: str) -> Record | None:
        records = self.records(kind, [identity])
        return records[0] if records else None

    def records(self, kind: str, identities: Sequence[str]) -> list[Record]:
        if not identities:
            return []
        keys = [_body(kind, identity) for identity in identities]
        bodies = self.watch(*keys).mget(keys)
        rows = self._client.hmget(_rows(kind), identities)  # written with the bodies, which are watched
        records = zip(identities, rows, bodies, strict=True)
        return [_record(kind, name, row, body) for name, row, body in records if body is not None]

    def rows(self, kind: str) -> list[Record]:
        client = self.watch(_index(kind), _rows(kind))
        rows = client.hgetall(_rows(kind))
        names = {name: name.decode("latin-1") for name in sorted(client.smembers(_index(kind)))}
        # Without a row they are of 0.4, or only have items, which are written first.
        return [
            _record(kind, identity, rows.get(name))
            for name, identity in names.items()
            if name in rows or client.exists(_body(kind, identity))
        ]

    def items(self, kind: str, identity: str, names: Sequence[str] | None = None) -> dict[str, bytes]:
        key = _items(kind, identity)
        if names is None:
            return {name.decode(): content for name, content in self._client.hgetall(key).items()}
        contents = zip(names, self._client.hmget(key, names) if names else (), strict=True)
        return {name: content for name, content in contents if content is not None}

    def item_names(self, kind: str, identity: str) -> list[str]:
        return [name.decode("latin-1") for name in self._client.hkeys(_items(kind, identity))]

    def ids_with_items(self, kind: str) -> list[str]:
        return [identity.decode("latin-1") for identity in self._client.smembers(_index(kind))]

    def write(self, record: Record) -> None:
        row = [record.version, record.state, record.nbytes, 0, record.expires]
        if record.owner != record.id.rpartition("~")[0]:
            row.append(record.owner)
        self.commands += [
            ("SADD", _index(record.kind), record.id),
            ("SET", _body(record.kind, record.id), record.body),
            ("HSET", _rows(record.kind), record.id, orjson.dumps(row)),
        ]

    def write_items(self, kind: str, identity: str, items: Mapping[str, bytes]) -> None:
        pairs = [each for pair in items.items() for each in pair]
        if pairs:  # listed as long as there are items, so that what a killed gateway leaves is known
            self.commands += [("SADD", _index(kind), identity), ("HSET", _items(kind, identity), *pairs)]

    def remove_items(self, kind: str, identity: str, names: Sequence[str]) -> None:
        if names:
            self.commands.append(("HDEL", _items(kind, identity), *names))

    def remove(self, kind: str, identity: str) -> None:
        self.commands += [
            ("UNLINK", _body(kind, identity), _items(kind, identity)),
            ("HDEL", _rows(kind), identity),
            ("SREM", _index(kind), identity),
        ]

    def commit(self) -> None:
        """Send the commands. Raises WatchError: a key that was read has changed."""
        from redis.exceptions import OutOfMemoryError  # here: the import takes a quarter of a second

        self._pipe.multi()
        try:
            self._send(self._pipe)
        except OutOfMemoryError:
            if any(command[0] not in REMOVALS for command in self.commands):
                raise
            # A full Redis queues nothing in a transaction, not even removals; nobody else writes to it either.
            self._send(self._client.pipeline(transaction=False))

    def _send(self, pipe: Any) -> None:
        for command in self.commands:
            pipe.execute_command(*command)
        pipe.execute()


class RedisStore:
    """As `Store`."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self._writing = threading.Lock()  # writers of this process would only repeat each other's transactions

    def now(self) -> float:
        """By the clock of Redis: the clocks of gateways may differ."""
        seconds, microseconds = self.ask(lambda client: client.time())
        return float(seconds + microseconds / 1e6)

    def capacity(self) -> int | None:
        """`maxmemory`."""
        return int(self.ask(methodcaller("info", "memory")).get("maxmemory", 0)) or None

    def view(self, work: Callable[[Transaction], T]) -> T:
        return self.ask(lambda client: work(RedisTransaction(client)))

    def transact(self, work: Callable[[RedisTransaction], T]) -> T:
        """Each attempt has the time of a call: in a burst of many all but one are in vain."""
        from redis.exceptions import WatchError

        def attempt(client: Any) -> tuple[T] | None:
            with client.pipeline() as pipe, suppress(WatchError):
                transaction = RedisTransaction(client, pipe)
                result = work(transaction)
                if transaction.commands:
                    transaction.commit()
                return (result,)
            return None

        with locked(self._writing):
            while (done := self.ask(attempt)) is None:
                pass
        return done[0]

    def check(self) -> None:
        self.ask(try_write)

    def close(self) -> None:
        self._link.close()

    def ask(self, call: Callable[[Any], T]) -> T:
        """The result of a function of a client of redis-py. Raises StoreAway, StoreFull."""
        try:
            return self._link.call(call)
        except RedisFull as error:
            raise StoreFull(str(error)) from error
        except RedisAway as error:
            raise StoreAway(str(error)) from error


def _record(kind: str, identity: str, row: bytes | None, body: bytes = b"") -> Record:
    version, state, nbytes, _, expires, *owner = ("", "", 0, 0, None) if row is None else orjson.loads(row)
    return Record(
        kind, identity, owner[0] if owner else identity.rpartition("~")[0], str(state), version, expires, nbytes, body
    )


def _index(kind: str) -> str:
    return f"lexiseg:{PLURALS.get(kind, f'{kind}s')}"


def _rows(kind: str) -> str:
    return f"{_index(kind)}:rows"


def _body(kind: str, identity: str) -> str:
    return f"lexiseg:{kind}:{identity}"


def _items(kind: str, identity: str) -> str:
    return f"lexiseg:{kind}:parts:{identity}"
