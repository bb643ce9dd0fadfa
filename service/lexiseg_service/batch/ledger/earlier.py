"""Jobs that 0.3 and 0.4 stored, which become records when none of the gateways that stored them is at work."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from functools import partial
from operator import methodcaller
from pathlib import Path
from typing import Any

import orjson

from lexiseg_service.batch.ledger.job import (
    CONTENT,
    ERASURE,
    JOB,
    PARTS,
    PICTURES,
    Progress,
    from_json,
    picture_items,
)
from lexiseg_service.batch.sources.source import Picture
from lexiseg_service.records.redis_store import RedisStore, RedisTransaction
from lexiseg_service.records.store import Record, Store, StoreAway, Transaction

FILE = "jobs.sqlite"  # in the state directory
INDEX, ERASURES, GROUP = "lexiseg:jobs", "lexiseg:job-erasures", "gateways"
ENTRIES_PER_CALL = 1000


def import_sqlite(path: Path, store: Store) -> None:
    """Move the jobs of a file, and remove it; it stays while a gateway works on them.

    Raises:
        StoreAway: the file cannot be read, or the store not written.
    """
    if not path.exists():
        return
    try:
        with closing(sqlite3.connect(path, timeout=1, isolation_level=None)) as file:
            file.row_factory = sqlite3.Row
            file.execute("BEGIN IMMEDIATE")
            tables = {name for (name,) in file.execute("SELECT name FROM sqlite_master")}
            if "jobs" not in tables or file.execute("SELECT 1 FROM holders WHERE until > ?", (time.time(),)).fetchone():
                return
            erasures = dict(file.execute("SELECT id, since FROM erasures")) if "erasures" in tables else {}
            for row in file.execute("SELECT * FROM jobs").fetchall():
                _import_row(store, file.execute, dict(row), erasures.pop(row["id"], None))
            store.transact(partial(_write_erasures, erasures))
            file.execute("DELETE FROM jobs")
            file.execute("COMMIT")
    except sqlite3.Error as error:
        raise StoreAway(f"{path.name}: {error}") from error
    for each in (path, *path.parent.glob(f"{path.name}-*")):
        each.unlink(missing_ok=True)


def _import_row(store: Store, run: Callable[..., Any], values: dict[str, Any], adding_until: float | None) -> None:
    identity = values["id"]
    unanswered = "SELECT number, name, place FROM pictures WHERE job = ? AND part IS NULL ORDER BY number"
    pictures = [Picture(*row) for row in run(unanswered, (identity,))]
    rows = run("SELECT name, number, at, done, failed, superseded FROM parts WHERE job = ?", (identity,))
    parts = {name: [*counts, orjson.loads(superseded)] for name, *counts, superseded in rows}

    def write(step: Transaction) -> None:
        if step.read(JOB, identity) is None:
            for items in picture_items(pictures):
                step.write_items(PICTURES, identity, items)
            _write(step, identity, values, adding_until, pictures, parts)

    store.transact(write)


def import_redis(store: RedisStore) -> None:
    """Move the jobs of a Redis, except the ones that a gateway works on. Raises StoreAway."""
    identities = [each.decode() for each in store.ask(methodcaller("zrange", INDEX, 0, -1))]
    for identity in identities:
        _import_keys(store, identity)
    if not store.ask(methodcaller("exists", INDEX)):
        since = store.ask(methodcaller("zrange", ERASURES, 0, -1, withscores=True))
        store.transact(partial(_write_erasures, {identity.decode(): score for identity, score in since}))
        store.ask(methodcaller("delete", ERASURES))


def _import_keys(store: RedisStore, identity: str) -> None:
    job = f"lexiseg:job:{{{identity}}}"
    stream, parts = f"{job}:pictures", f"{job}:parts"
    pictures: list[Picture] = []
    start = "-"
    while page := store.ask(methodcaller("xrange", stream, start, count=ENTRIES_PER_CALL)):
        pictures += [Picture(int(each[b"number"]), each[b"name"].decode(), each[b"place"].decode()) for _, each in page]
        start = f"({page[-1][0].decode()}"
    for items in picture_items(pictures):
        store.transact(methodcaller("write_items", PICTURES, identity, items))

    def move(step: RedisTransaction) -> None:
        client = step.watch(job, stream)
        values = {name.decode(): value.decode() for name, value in client.hgetall(job).items()}
        groups = client.xinfo_groups(stream) if client.exists(stream) else []
        consumers = client.xinfo_consumers(stream, GROUP) if groups else []
        holders = [*(each["name"].decode() for each in consumers), values.get("notifier", "")]
        is_held = client.exists(*(f"lexiseg:job-holder:{holder}" for holder in holders))
        if is_held or (pictures and client.xlen(stream) != len(pictures)):
            return
        if values:
            contents = {name.decode(): _part(content) for name, content in client.hgetall(parts).items()}
            until = client.zscore(ERASURES, identity)
            _write(step, identity, values, until, pictures, contents)
        step.commands += [("UNLINK", job, stream, parts), ("ZREM", INDEX, identity), ("ZREM", ERASURES, identity)]

    store.transact(move)


def _part(content: bytes) -> list[Any]:
    place, at, done, failed, superseded = content.decode().split(" ")
    return [int(place), float(at), int(done), int(failed), [int(number) for number in superseded.split(",") if number]]


def _write(
    step: Transaction,
    identity: str,
    values: Mapping[str, Any],
    adding_until: float | None,
    pictures: Sequence[Picture],
    parts: Mapping[str, list[Any]],
) -> None:
    job = from_json(values["content"])
    progress = Progress.of(job, int(values.get("bytes", 0)), adding_until)
    progress.notice, progress.detail = values["notice"], values.get("detail")
    for name, of_0_4 in (("done", "done"), ("failed", "failed"), ("n_delivered", "told")):
        setattr(progress, name, int(values.get(of_0_4, 0)))
    for name in ("started", "ended"):
        setattr(progress, name, None if values.get(name) is None else float(values[name]))
    unanswered, progress.next, progress.parts = [picture.number for picture in pictures], job.total, len(parts)
    while unanswered and unanswered[-1] == progress.next - 1:  # the ones at the end are as if never taken
        progress.next = unanswered.pop()
    progress.leases = {"": unanswered} if unanswered else {}
    step.write(progress.record(identity))
    step.write_items(JOB, identity, {CONTENT: orjson.dumps(job)})
    step.write_items(PARTS, identity, {name: orjson.dumps(part) for name, part in parts.items()})


def _write_erasures(since: Mapping[str, float], step: Transaction) -> None:
    for identity, seconds in since.items():
        step.write(Record(ERASURE, identity, expires=seconds))
