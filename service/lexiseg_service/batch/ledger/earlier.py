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
import structlog

from lexiseg_service.batch.ledger.job import (
    CONTENT,
    ERASURE,
    JOB,
    PARTS,
    PICTURES,
    Job,
    Progress,
    from_json,
    picture_items,
)
from lexiseg_service.batch.sources.source import Picture
from lexiseg_service.records.redis_store import RedisStore, RedisTransaction
from lexiseg_service.records.store import Record, Store, StoreAway, Transaction

logger = structlog.get_logger("lexiseg.jobs")
FILE = "jobs.sqlite"  # in the state directory
INDEX, ERASURES, GROUP = "lexiseg:jobs", "lexiseg:job-erasures", "gateways"
ENTRIES_PER_CALL = 1000


def import_sqlite(path: Path, store: Store) -> None:
    """Move the jobs of a file, and remove it; it stays while a gateway works on them, or one cannot be read."""
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
                if (job := _job(row["id"], row["content"])) is not None:
                    _import_row(store, file.execute, job, dict(row), erasures.pop(job.id, None))
                    file.execute("DELETE FROM jobs WHERE id = ?", (job.id,))
            store.transact(partial(_write_erasures, erasures))
            is_empty = file.execute("SELECT 1 FROM jobs").fetchone() is None
            file.execute("COMMIT")
    except sqlite3.Error as error:
        raise StoreAway(f"{path.name}: {error}") from error
    for each in (path, *path.parent.glob(f"{path.name}-*")) if is_empty else ():
        each.unlink(missing_ok=True)


def _import_row(
    store: Store, run: Callable[..., Any], job: Job, values: Mapping[str, Any], adding_until: float | None
) -> None:
    unanswered = "SELECT number, name, place FROM pictures WHERE job = ? AND part IS NULL ORDER BY number"
    pictures = [Picture(*row) for row in run(unanswered, (job.id,))]
    rows = run("SELECT name, number, at, done, failed, superseded FROM parts WHERE job = ?", (job.id,))
    parts = {name: [*counts, orjson.loads(superseded)] for name, *counts, superseded in rows}

    def write(step: Transaction) -> None:
        if step.read(JOB, job.id) is None:
            for items in picture_items(pictures):
                step.write_items(PICTURES, job.id, items)
            _write(step, job, values, adding_until, pictures, parts)

    store.transact(write)


def import_redis(store: RedisStore) -> None:
    """Move the jobs of a Redis, except ones that a gateway works on, or that cannot be read. Raises StoreAway."""
    erasures = store.ask(methodcaller("zrange", ERASURES, 0, -1, withscores=True))
    identities = [each.decode() for each in store.ask(methodcaller("zrange", INDEX, 0, -1))]
    for identity in identities:
        keys = _Keys(identity)
        content = store.ask(methodcaller("hget", keys.job, "content"))
        job = None if content is None else _job(identity, content)
        if (job is not None or content is None) and not store.ask(keys.are_in_use):
            _import_keys(store, keys, job)
    since = {name.decode(): score for name, score in erasures if name.decode() not in identities}
    if since:
        store.transact(partial(_write_erasures, since))
        store.ask(methodcaller("zrem", ERASURES, *since))


class _Keys:
    """The keys of a job."""

    def __init__(self, identity: str) -> None:
        self.id = identity
        self.job = f"lexiseg:job:{{{identity}}}"
        self.pictures = f"{self.job}:pictures"
        self.parts = f"{self.job}:parts"

    def are_in_use(self, client: Any) -> bool:
        """Whether a gateway that works on the job, or sends its notice, has a lease that runs."""
        groups = client.xinfo_groups(self.pictures) if client.exists(self.pictures) else []
        consumers = client.xinfo_consumers(self.pictures, GROUP) if groups else []
        holders = [each["name"] for each in consumers] + [client.hget(self.job, "notifier") or b""]
        return bool(client.exists(*(b"lexiseg:job-holder:" + holder for holder in holders)))


def _import_keys(store: RedisStore, keys: _Keys, job: Job | None) -> None:
    pictures: list[Picture] = []
    start = "-"
    while page := store.ask(methodcaller("xrange", keys.pictures, start, count=ENTRIES_PER_CALL)):
        pictures += [Picture(int(each[b"number"]), each[b"name"].decode(), each[b"place"].decode()) for _, each in page]
        start = f"({page[-1][0].decode()}"
    for items in picture_items(pictures):
        store.transact(methodcaller("write_items", PICTURES, keys.id, items))

    def move(step: RedisTransaction) -> None:
        client = step.watch(keys.job, keys.pictures)
        values = {name.decode(): value.decode() for name, value in client.hgetall(keys.job).items()}
        if keys.are_in_use(client) or (pictures and client.xlen(keys.pictures) != len(pictures)):
            step.remove(PICTURES, keys.id)  # it is moved later
            return
        if values and job is not None:
            parts = {name.decode(): _part(content) for name, content in client.hgetall(keys.parts).items()}
            _write(step, job, values, client.zscore(ERASURES, keys.id), pictures, parts)
        else:
            step.remove(PICTURES, keys.id)
        step.commands += [
            ("UNLINK", keys.job, keys.pictures, keys.parts),
            ("ZREM", INDEX, keys.id),
            ("ZREM", ERASURES, keys.id),
        ]

    store.transact(move)


def _job(identity: str, content: str | bytes) -> Job | None:
    """The job of a JSON text; None, with a line in the log, if it is none."""
    try:
        return from_json(content)
    except (ValueError, TypeError, LookupError) as error:
        logger.warning("a job of an earlier release cannot be read", job=identity, error=type(error).__name__)
        return None


def _part(content: bytes) -> list[Any]:
    place, at, good, failed, superseded = content.decode().split(" ")
    return [int(place), float(at), int(good), int(failed), [int(number) for number in superseded.split(",") if number]]


def _write(
    step: Transaction,
    job: Job,
    values: Mapping[str, Any],
    adding_until: float | None,
    pictures: Sequence[Picture],
    parts: Mapping[str, list[Any]],
) -> None:
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
    step.write(progress.record(job.id))
    step.write_items(JOB, job.id, {CONTENT: orjson.dumps(job)})
    step.write_items(PARTS, job.id, {name: orjson.dumps(part) for name, part in parts.items()})


def _write_erasures(since: Mapping[str, float], step: Transaction) -> None:
    for identity, seconds in since.items():
        step.write(Record(ERASURE, identity, expires=seconds))
