"""Jobs in a SQLite file, for the gateways of one machine."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lexiseg_model.files.atomic import PRIVATE, private_file
from lexiseg_service.batch.ledger.job import (
    ADDING_SECONDS,
    Job,
    LedgerAway,
    Notice,
    OpenJob,
    Part,
    Progress,
    from_json,
    measured_since,
    rate_of,
    to_json,
)
from lexiseg_service.batch.ledger.quota import Amounts
from lexiseg_service.batch.sources.source import Picture

# For another process's transaction; after one was waited for in vain, the next calls hardly wait, until one succeeds.
BUSY_SECONDS, IMPATIENT_SECONDS = 2.0, 0.05
LOCK_SECONDS = 5.0  # for a transaction of another thread
SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    id TEXT PRIMARY KEY, created REAL NOT NULL, content TEXT NOT NULL, total INTEGER NOT NULL,
    done INTEGER NOT NULL DEFAULT 0, failed INTEGER NOT NULL DEFAULT 0,
    started REAL, ended REAL, detail TEXT, notice TEXT NOT NULL DEFAULT 'none', notifier TEXT
);
CREATE TABLE IF NOT EXISTS pictures (
    job TEXT NOT NULL REFERENCES jobs ON DELETE CASCADE, number INTEGER NOT NULL,
    name TEXT NOT NULL, place TEXT NOT NULL, holder TEXT, part INTEGER, PRIMARY KEY (job, number)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS unanswered ON pictures (job, number) WHERE part IS NULL;
CREATE TABLE IF NOT EXISTS parts (
    job TEXT NOT NULL REFERENCES jobs ON DELETE CASCADE, number INTEGER NOT NULL, name TEXT NOT NULL,
    at REAL NOT NULL, done INTEGER NOT NULL, failed INTEGER NOT NULL, superseded TEXT NOT NULL,
    PRIMARY KEY (job, number), UNIQUE (job, name)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS holders (id TEXT PRIMARY KEY, until REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS erasures (id TEXT PRIMARY KEY, since REAL NOT NULL) WITHOUT ROWID;
"""
# Columns of `jobs` that 0.3 did not have.
ADDED = {
    "client": "TEXT NOT NULL DEFAULT ''",
    "bytes": "INTEGER NOT NULL DEFAULT 0",
    "told": "INTEGER NOT NULL DEFAULT 0",
}
FILL = "UPDATE jobs SET client = json_extract(content, '$.client') WHERE client = ''"
OPEN = """
SELECT id, client, total - done - failed, created, started IS NOT NULL FROM jobs
WHERE ended IS NULL ORDER BY created, id
"""
USAGE = "SELECT coalesce(sum(ended IS NULL), 0), count(*), coalesce(sum(bytes), 0) FROM jobs WHERE client = ?"
TAKE = """
UPDATE pictures SET holder = :holder WHERE job = :job AND number IN (
    SELECT number FROM pictures WHERE job = :job AND part IS NULL
    AND (holder IS NULL OR holder = :holder OR holder NOT IN (SELECT id FROM holders WHERE until > :now))
    ORDER BY number LIMIT :count
) RETURNING number, name, place
"""
TAKE_NOTICES = """
UPDATE jobs SET notifier = :holder WHERE ended IS NOT NULL AND notice = 'due'
AND (notifier IS NULL OR notifier = :holder OR notifier NOT IN (SELECT id FROM holders WHERE until > :now)) RETURNING id
"""


class SqliteLedger:
    """As `Ledger`. WAL, and a connection that only reads: readers wait for no writer, here or in another process.

    Raises:
        OSError: the file cannot be made.
        LedgerAway: the file cannot be opened.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        private_file(path)
        for beside in path.parent.glob(f"{path.name}-*"):  # of a process that was killed; new ones follow the file
            with suppress(OSError):
                beside.chmod(PRIVATE)
        self._clock = clock
        self._lock, self._reading = threading.Lock(), threading.Lock()
        with _errors():
            self._connection, self._reader = (
                sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
                for _ in range(2)
            )
            # A killed process loses nothing with NORMAL; after a power cut the last commits may be repeated.
            self._connection.executescript(
                f"PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA foreign_keys=ON; {SCHEMA}"
            )
        with self._transaction() as run:
            present = {name for _, name, *_ in run.execute("PRAGMA table_info(jobs)")}
            for name in ADDED.keys() - present:
                run.execute(f"ALTER TABLE jobs ADD COLUMN {name} {ADDED[name]}")
            run.execute(FILL)

    def add(self, job: Job, n_bytes: int, limits: Amounts) -> Amounts | None:
        """As `Ledger.add`."""
        notice: Notice = "none" if job.webhook is None else "due"
        with self._transaction() as run:
            usage = Amounts(*run.execute(USAGE, (job.client,)).fetchone())
            if not usage.has_room(limits, n_bytes):
                return usage
            run.execute(
                "INSERT INTO jobs (id, created, content, total, notice, client, bytes) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (job.id, job.created, to_json(job), job.total, notice, job.client, n_bytes),
            )
            run.execute("INSERT INTO erasures VALUES (?, ?)", (job.id, self._clock() + ADDING_SECONDS))
        return None

    def plan(self, identity: str, pictures: Sequence[Picture]) -> bool:
        """As `Ledger.plan`."""
        rows = ((identity, picture.number, picture.name, picture.place) for picture in pictures)
        with self._transaction() as run:
            if not run.execute("SELECT 1 FROM jobs WHERE id = ?", (identity,)).fetchone():
                return False
            run.execute("DELETE FROM erasures WHERE id = ?", (identity,))
            run.executemany("INSERT INTO pictures (job, number, name, place) VALUES (?, ?, ?, ?)", rows)
        return True

    def jobs(self) -> list[Job]:
        """As `Ledger.jobs`."""
        return [from_json(content) for (content,) in self._rows("SELECT content FROM jobs ORDER BY created, id")]

    def job(self, identity: str) -> Job | None:
        """As `Ledger.job`."""
        rows = self._rows("SELECT content FROM jobs WHERE id = ?", identity)
        return from_json(rows[0][0]) if rows else None

    def open_jobs(self) -> list[OpenJob]:
        """As `Ledger.open_jobs`."""
        rows = self._rows(OPEN)
        return [
            OpenJob(identity, client, left, created, bool(is_begun))
            for identity, client, left, created, is_begun in rows
        ]

    def progress(self, identity: str) -> Progress | None:
        """As `Ledger.progress`."""
        rows = self._rows("SELECT done, failed, started, ended, detail, notice, told FROM jobs WHERE id = ?", identity)
        if not rows:
            return None
        n_done, failed, started, ended, detail, notice, delivered = rows[0]
        return Progress(n_done, failed, started, ended, self._rate(identity, started, ended), detail, notice, delivered)

    def _rate(self, identity: str, started: float | None, ended: float | None) -> float:
        if started is None:
            return 0.0
        since, until = started, ended
        if until is None:
            until = self._clock()
            since = measured_since(started, until)
        counted = "SELECT coalesce(sum(done + failed), 0) FROM parts WHERE job = ? AND at >= ?"
        return rate_of(self._rows(counted, identity, since)[0][0], until - since)

    def beat(self, holders: Sequence[str], seconds: float) -> None:
        """As `Ledger.beat`."""
        with self._transaction() as run:
            until = self._clock() + seconds
            run.executemany("INSERT OR REPLACE INTO holders VALUES (?, ?)", [(holder, until) for holder in holders])
            run.execute("DELETE FROM holders WHERE until <= ?", (self._clock(),))

    def leave(self, holder: str) -> None:
        """As `Ledger.leave`."""
        self._change("DELETE FROM holders WHERE id = ?", holder)

    def take(self, identity: str, holder: str, count: int) -> list[Picture]:
        """As `Ledger.take`."""
        now = self._clock()
        with self._transaction() as run:
            arguments = {"holder": holder, "job": identity, "now": now, "count": count}
            rows = run.execute(TAKE, arguments).fetchall()
            if rows:
                run.execute("UPDATE jobs SET started = ? WHERE id = ? AND started IS NULL", (now, identity))
        return [Picture(*row) for row in sorted(rows)]

    def commit(self, identity: str, name: str, outcomes: Mapping[int, bool], n_bytes: int) -> bool:
        """As `Ledger.commit`."""
        with self._transaction() as run:
            if not run.execute("SELECT 1 FROM jobs WHERE id = ?", (identity,)).fetchone():
                return False
            if run.execute("SELECT 1 FROM parts WHERE job = ? AND name = ?", (identity, name)).fetchone():
                return True
            (number,) = run.execute("SELECT count(*) FROM parts WHERE job = ?", (identity,)).fetchone()
            mark = "UPDATE pictures SET part = ?, holder = NULL WHERE job = ? AND number = ? AND part IS NULL"
            first = {picture: run.execute(mark, (number, identity, picture)).rowcount == 1 for picture in outcomes}
            failed = sum(outcomes[picture] for picture, is_first in first.items() if is_first)
            n_done = sum(first.values()) - failed
            superseded = json.dumps([picture for picture, is_first in first.items() if not is_first])
            now = self._clock()
            run.execute(
                "INSERT INTO parts VALUES (?, ?, ?, ?, ?, ?, ?)",
                (identity, number, name, now, n_done, failed, superseded),
            )
            run.execute(
                "UPDATE jobs SET done = done + ?, failed = failed + ?, bytes = bytes + ?, detail = NULL, "
                "ended = CASE WHEN done + failed + ? = total THEN ? ELSE NULL END WHERE id = ?",
                (n_done, failed, n_bytes, n_done + failed, now, identity),
            )
        return True

    def parts(self, identity: str, after: int = 0) -> list[Part]:
        """As `Ledger.parts`."""
        rows = self._rows(
            "SELECT name, done, failed, superseded, at FROM parts WHERE job = ? AND number >= ? ORDER BY number",
            identity,
            after,
        )
        return [Part(name, n_done, failed, json.loads(superseded), at) for name, n_done, failed, superseded, at in rows]

    def note(self, identity: str, detail: str | None) -> None:
        """As `Ledger.note`."""
        self._change("UPDATE jobs SET detail = ? WHERE id = ?", detail, identity)

    def due_notices(self, holder: str) -> list[str]:
        """As `Ledger.due_notices`."""
        return [identity for (identity,) in self._change(TAKE_NOTICES, {"holder": holder, "now": self._clock()})]

    def noticed(self, identity: str, notice: Notice) -> None:
        """As `Ledger.noticed`."""
        self._change("UPDATE jobs SET notice = ? WHERE id = ?", notice, identity)

    def record_delivered(self, identity: str, count: int) -> None:
        """As `Ledger.tell`."""
        self._change("UPDATE jobs SET told = ? WHERE id = ?", count, identity)

    def erase(self, identities: Sequence[str]) -> None:
        """As `Ledger.erase`."""
        now = self._clock()
        with self._transaction() as run:
            run.executemany("INSERT OR REPLACE INTO erasures VALUES (?, ?)", [(each, now) for each in identities])
            run.executemany("DELETE FROM jobs WHERE id = ?", [(each,) for each in identities])

    def erasures(self) -> Mapping[str, float]:
        """As `Ledger.erasures`."""
        return dict(self._rows("SELECT id, since FROM erasures"))

    def erased(self, identity: str) -> None:
        """As `Ledger.erased`."""
        self._change("DELETE FROM erasures WHERE id = ?", identity)

    def check(self) -> None:
        """As `Ledger.check`."""
        with self._transaction():
            pass

    def close(self) -> None:
        """As `Ledger.close`."""
        with self._lock, self._reading:
            self._connection.close()
            self._reader.close()

    def _rows(self, statement: str, *arguments: Any) -> list[Any]:
        """The rows of a statement that reads, which needs no lock of the file, and no disk."""
        with _hold(self._reading), _errors():
            return self._reader.execute(statement, arguments).fetchall()

    def _change(self, statement: str, *arguments: Any) -> list[Any]:
        """The rows of a statement that writes."""
        named = arguments[0] if arguments and isinstance(arguments[0], dict) else arguments
        with self._transaction() as run:
            return run.execute(statement, named).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with _hold(self._lock), _errors():
            try:
                self._connection.execute("BEGIN IMMEDIATE")
            except sqlite3.Error:
                self._wait_for_others(IMPATIENT_SECONDS)
                raise
            self._wait_for_others(BUSY_SECONDS)
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")

    def _wait_for_others(self, seconds: float) -> None:
        self._connection.execute(f"PRAGMA busy_timeout={1000 * seconds:.0f}")


@contextmanager
def _hold(lock: threading.Lock) -> Iterator[None]:
    """Hold a lock. Raises LedgerAway: another thread holds it for too long."""
    if not lock.acquire(timeout=LOCK_SECONDS):
        raise LedgerAway(f"other calls have taken more than {LOCK_SECONDS:g} seconds")
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:  # a full disk, a damaged file, a lock that another process keeps
        raise LedgerAway(str(error)) from error
