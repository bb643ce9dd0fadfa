"""Jobs that 0.3.0 stored are read, worked on, and ended."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from lexiseg_service.batch.ledger.job import Ledger, OpenJob, to_json
from lexiseg_service.batch.ledger.redis_streams import RedisLedger
from lexiseg_service.batch.ledger.sqlite import SqliteLedger
from lexiseg_service.redis_link import Breaker, RedisLink
from tests.redis_server import RedisServer
from tests.service.batch.ledger.test_ledgers import LEASE, WEBHOOK, job, take_all

# As 0.3.0 made them.
TABLES = """
CREATE TABLE jobs (
    id TEXT PRIMARY KEY, created REAL NOT NULL, content TEXT NOT NULL, total INTEGER NOT NULL,
    done INTEGER NOT NULL DEFAULT 0, failed INTEGER NOT NULL DEFAULT 0,
    started REAL, ended REAL, detail TEXT, notice TEXT NOT NULL DEFAULT 'none', notifier TEXT
);
CREATE TABLE pictures (
    job TEXT NOT NULL REFERENCES jobs ON DELETE CASCADE, number INTEGER NOT NULL,
    name TEXT NOT NULL, place TEXT NOT NULL, holder TEXT, part INTEGER, PRIMARY KEY (job, number)
) WITHOUT ROWID;
CREATE INDEX unanswered ON pictures (job, number) WHERE part IS NULL;
CREATE TABLE parts (
    job TEXT NOT NULL REFERENCES jobs ON DELETE CASCADE, number INTEGER NOT NULL, name TEXT NOT NULL,
    at REAL NOT NULL, done INTEGER NOT NULL, failed INTEGER NOT NULL, superseded TEXT NOT NULL,
    PRIMARY KEY (job, number), UNIQUE (job, name)
) WITHOUT ROWID;
CREATE TABLE holders (id TEXT PRIMARY KEY, until REAL NOT NULL) WITHOUT ROWID;
"""
CONTENT = to_json(job(total=2, webhook=WEBHOOK))


def in_sqlite(folder: Path) -> Ledger:
    path = folder / "jobs.sqlite"
    with sqlite3.connect(path) as before:
        before.executescript(f"PRAGMA journal_mode=WAL; {TABLES}")
        before.execute(
            "INSERT INTO jobs (id, created, content, total, notice) VALUES ('a', 1.0, ?, 2, 'due')", (CONTENT,)
        )
        before.executemany("INSERT INTO pictures VALUES ('a', ?, 'a.jpg', 'a', NULL, NULL)", [(0,), (1,)])
    before.close()
    return SqliteLedger(path)


def in_redis(server: RedisServer) -> Ledger:
    link = RedisLink(server.url, 10, Breaker())
    values: dict[Any, Any] = {"content": CONTENT, "done": 0, "failed": 0, "notice": "due"}
    link.call(lambda client: client.flushall())
    link.call(lambda client: client.hset("lexiseg:job:{a}", mapping=values))
    link.call(lambda client: client.zadd("lexiseg:jobs", {"a": 1.0}))
    pictures = "lexiseg:job:{a}:pictures"
    link.call(lambda client: client.xadd(pictures, {"number": 0, "name": "a.jpg", "place": "a"}, id="0-1"))
    link.call(lambda client: client.xadd(pictures, {"number": 1, "name": "a.jpg", "place": "a"}, id="0-2"))
    link.call(lambda client: client.xgroup_create(pictures, "gateways", "0"))
    return RedisLedger(link)


@pytest.fixture(params=["sqlite", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Ledger:
    return in_sqlite(tmp_path) if request.param == "sqlite" else in_redis(request.getfixturevalue("shared_redis"))


def test_a_job_of_0_3_is_worked_on(store: Ledger) -> None:
    assert store.open_jobs() == [OpenJob("a", "address:1", 2, 1.0, False)]
    store.beat(["x"], LEASE)

    assert take_all(store, "x", 1) == [0, 1]

    progress = store.progress("a")
    assert progress is not None
    assert (progress.done, progress.ended is None, store.open_jobs()) == (2, False, [])
    assert store.due_notices("x") == ["a"]
    store.close()
