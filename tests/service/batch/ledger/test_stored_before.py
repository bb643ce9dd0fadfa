"""Jobs that 0.4 stored become records once no gateway works on them; then they are worked on, and ended."""

import json
import sqlite3
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from lexiseg_service.batch.ledger.earlier import import_redis, import_sqlite
from lexiseg_service.batch.ledger.job import Ledger, OpenJob
from lexiseg_service.records.redis_store import RedisStore
from lexiseg_service.records.sqlite import SqliteStore
from lexiseg_service.redis_link import Breaker, RedisLink
from tests.redis_server import RedisServer
from tests.service.batch.ledger.test_ledgers import LEASE, WEBHOOK, job, take_all

# As 0.4.0 made them.
TABLES = """
CREATE TABLE jobs (
    id TEXT PRIMARY KEY, created REAL NOT NULL, content TEXT NOT NULL, total INTEGER NOT NULL,
    done INTEGER NOT NULL DEFAULT 0, failed INTEGER NOT NULL DEFAULT 0,
    started REAL, ended REAL, detail TEXT, notice TEXT NOT NULL DEFAULT 'none', notifier TEXT,
    client TEXT NOT NULL DEFAULT '', bytes INTEGER NOT NULL DEFAULT 0, told INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE pictures (
    job TEXT NOT NULL REFERENCES jobs ON DELETE CASCADE, number INTEGER NOT NULL,
    name TEXT NOT NULL, place TEXT NOT NULL, holder TEXT, part INTEGER, PRIMARY KEY (job, number)
) WITHOUT ROWID;
CREATE TABLE parts (
    job TEXT NOT NULL REFERENCES jobs ON DELETE CASCADE, number INTEGER NOT NULL, name TEXT NOT NULL,
    at REAL NOT NULL, done INTEGER NOT NULL, failed INTEGER NOT NULL, superseded TEXT NOT NULL,
    PRIMARY KEY (job, number), UNIQUE (job, name)
) WITHOUT ROWID;
CREATE TABLE holders (id TEXT PRIMARY KEY, until REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE erasures (id TEXT PRIMARY KEY, since REAL NOT NULL) WITHOUT ROWID;
"""
TOTAL, ANSWERED = 6, 1  # number of the picture that a part has; 0 was taken by a holder, the others by nobody
CONTENT = json.dumps(asdict(job(total=TOTAL, webhook=WEBHOOK)))


class Before(NamedTuple):
    ledger: Ledger
    bring: Callable[[], None]  # imports
    leave: Callable[[], object]  # ends the lease of the gateway of 0.4
    remains: Callable[[], list[str]]  # ids of jobs that are still as 0.4 stored them


def in_sqlite(folder: Path) -> Before:
    path = folder / "jobs.sqlite"
    file = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    file.executescript(f"PRAGMA journal_mode=WAL; {TABLES}")
    values = (CONTENT, TOTAL)
    file.execute(
        "INSERT INTO jobs VALUES ('a', 1.0, ?, ?, 1, 0, 2.0, NULL, NULL, 'due', NULL, 'address:1', 50, 0)", values
    )
    file.execute("INSERT INTO jobs (id, created, content, total) VALUES ('b', 1.0, '{', 1)")
    for number in range(TOTAL):
        holder, part = "old" if number == 0 else None, 0 if number == ANSWERED else None
        file.execute("INSERT INTO pictures VALUES ('a', ?, 'n', ?, ?, ?)", (number, f"at {number}", holder, part))
    file.execute("INSERT INTO parts VALUES ('a', 0, 'first', 3.0, 1, 0, '[]')")
    file.execute("INSERT INTO holders VALUES ('old', ?)", (time.time() + LEASE,))
    file.execute("INSERT INTO erasures VALUES ('gone', 5.0)")
    store = SqliteStore(folder / "records.sqlite")
    return Before(
        Ledger(store),
        lambda: import_sqlite(path, store),
        lambda: file.execute("DELETE FROM holders").fetchall(),
        lambda: [identity for (identity,) in file.execute("SELECT id FROM jobs")],
    )


def in_redis(server: RedisServer) -> Before:
    link = RedisLink(server.url, 10, Breaker())
    values: dict[Any, Any] = {"content": CONTENT, "done": 1, "failed": 0, "notice": "due", "client": "address:1"}
    key, stream = "lexiseg:job:{a}", "lexiseg:job:{a}:pictures"

    def fill(client: Any) -> None:
        client.flushall()
        client.hset(key, mapping=values | {"total": TOTAL, "bytes": 50, "started": "2.0"})
        client.hset("lexiseg:job:{b}", "content", "{")
        client.zadd("lexiseg:jobs", {"a": 1.0, "b": 1.0})
        for number in range(TOTAL):
            entry = {"number": number, "name": "n", "place": f"at {number}"}
            client.xadd(stream, entry, id=f"0-{number + 1}")
        client.xgroup_create(stream, "gateways", "0")
        client.xreadgroup("gateways", "old", {stream: ">"}, count=2)
        client.xack(stream, "gateways", f"0-{ANSWERED + 1}")
        client.xdel(stream, f"0-{ANSWERED + 1}")
        client.hset(f"{key}:parts", "first", "0 3.000 1 0 ")
        client.set("lexiseg:job-holder:old", "1", px=int(1000 * LEASE))
        client.zadd("lexiseg:job-erasures", {"gone": 5.0})

    link.call(fill)
    store = RedisStore(link)
    return Before(
        Ledger(store),
        lambda: import_redis(store),
        lambda: link.call(lambda client: client.delete("lexiseg:job-holder:old")),
        lambda: [each.decode() for each in link.call(lambda client: client.zrange("lexiseg:jobs", 0, -1))],
    )


@pytest.fixture(params=["sqlite", "redis"])
def before(request: pytest.FixtureRequest, tmp_path: Path) -> Before:
    return in_sqlite(tmp_path) if request.param == "sqlite" else in_redis(request.getfixturevalue("shared_redis"))


def test_a_job_of_0_4_is_worked_on_when_its_gateway_is_gone(before: Before) -> None:
    ledger = before.ledger
    before.bring()
    assert (ledger.jobs(), before.remains()) == ([], ["a", "b"])
    before.leave()

    for _ in range(2):  # the second time there is only one that is damaged
        before.bring()

    assert before.remains() == ["b"]
    assert ledger.open_jobs() == [OpenJob("a", "address:1", TOTAL - 1, 1.0, True)]
    assert ledger.erasures() == {"gone": 5.0}
    ledger.renew_leases(["x"], LEASE)
    assert [picture.place for picture in ledger.take("a", "x", 2)] == ["at 0", "at 2"]
    assert take_all(ledger, "x", 2) == [0, 2, 3, 4, 5]
    progress = ledger.progress("a")
    assert progress is not None
    assert (progress.done, progress.ended is None, ledger.open_jobs()) == (TOTAL, False, [])
    assert (ledger.parts("a")[0].name, ledger.due_notices("x")) == ("first", ["a"])
    ledger.close()
