"""Records in a SQLite file, for the processes of one machine."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

from lexiseg_model.files.atomic import PRIVATE, private_file, private_folder
from lexiseg_service.errors import InvalidValue
from lexiseg_service.records.store import Record, StoreAway, Transaction, locked

T = TypeVar("T")
FILE = "records.sqlite"  # in the state directory
# For another process's transaction; after one was waited for in vain, the next calls hardly wait, until one succeeds.
BUSY_SECONDS, IMPATIENT_SECONDS = 2.0, 0.05
COLUMNS = "kind, id, owner, state, version, expires, bytes"
SCHEMA = """
CREATE TABLE IF NOT EXISTS records (
    kind TEXT NOT NULL, id TEXT NOT NULL, owner TEXT NOT NULL, state TEXT NOT NULL, version TEXT NOT NULL,
    expires REAL, bytes INTEGER NOT NULL, body BLOB NOT NULL, PRIMARY KEY (kind, id)
);
CREATE TABLE IF NOT EXISTS items (
    kind TEXT NOT NULL, id TEXT NOT NULL, name TEXT NOT NULL, content BLOB NOT NULL, PRIMARY KEY (kind, id, name)
);
"""


class SqliteTransaction:
    """As `Transaction`, on a connection between BEGIN and COMMIT."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._run = connection.execute
        self._run_many = connection.executemany
        self.has_removed = False

    def read(self, kind: str, identity: str) -> Record | None:
        row = self._run(f"SELECT {COLUMNS}, body FROM records WHERE kind = ? AND id = ?", (kind, identity)).fetchone()
        return None if row is None else Record(*row)

    def records(self, kind: str, identities: Sequence[str]) -> list[Record]:
        records = (self.read(kind, identity) for identity in identities)
        return [record for record in records if record is not None]

    def rows(self, kind: str) -> list[Record]:
        rows = self._run(f"SELECT {COLUMNS} FROM records WHERE kind = ? ORDER BY id", (kind,))
        return [Record(*row) for row in rows]

    def items(self, kind: str, identity: str, names: Sequence[str] | None = None) -> dict[str, bytes]:
        if names is None:
            return dict(self._run("SELECT name, content FROM items WHERE kind = ? AND id = ?", (kind, identity)))
        one = "SELECT content FROM items WHERE kind = ? AND id = ? AND name = ?"
        contents = ((name, self._run(one, (kind, identity, name)).fetchone()) for name in names)
        return {name: row[0] for name, row in contents if row is not None}

    def item_names(self, kind: str, identity: str) -> list[str]:
        return [name for (name,) in self._run("SELECT name FROM items WHERE kind = ? AND id = ?", (kind, identity))]

    def ids_with_items(self, kind: str) -> list[str]:
        return [identity for (identity,) in self._run("SELECT DISTINCT id FROM items WHERE kind = ?", (kind,))]

    def write(self, record: Record) -> None:
        values = (record.kind, record.id, record.owner, record.state, record.version, record.expires, record.nbytes)
        insert = f"INSERT OR REPLACE INTO records ({COLUMNS}, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
        self._run(insert, (*values, record.body))

    def write_items(self, kind: str, identity: str, items: Mapping[str, bytes]) -> None:
        rows = ((kind, identity, name, content) for name, content in items.items())
        self._run_many("INSERT OR REPLACE INTO items VALUES (?, ?, ?, ?)", rows)

    def remove_items(self, kind: str, identity: str, names: Sequence[str]) -> None:
        self.has_removed = True
        remove = "DELETE FROM items WHERE kind = ? AND id = ? AND name = ?"
        self._run_many(remove, [(kind, identity, name) for name in names])

    def remove(self, kind: str, identity: str) -> None:
        self.has_removed = True
        for table in ("records", "items"):
            self._run(f"DELETE FROM {table} WHERE kind = ? AND id = ?", (kind, identity))


class SqliteStore:
    """As `Store`; with WAL no reader waits for a writer. Without a path records are in memory."""

    def __init__(
        self, path: Path | None, clock: Callable[[], float] = time.time, journal: Literal["WAL", "DELETE"] = "WAL"
    ) -> None:
        if path is not None:
            private_file(path)
            for companion in path.parent.glob(f"{path.name}-*"):  # of a killed process; new ones get the file's mode
                with suppress(OSError):
                    companion.chmod(PRIVATE)
        self.now = clock
        self._writing, self._reading = threading.Lock(), threading.Lock()
        connect = partial(
            sqlite3.connect, path or ":memory:", BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        with _errors():
            self._writer = self._reader = connect()
            if path is None:
                self._reading = self._writing
            else:
                self._reader = connect()
            # With WAL a killed process loses nothing by NORMAL; after a power cut the last commits may be repeated.
            synchronous = "NORMAL" if journal == "WAL" else "FULL"
            self._writer.executescript(
                f"PRAGMA journal_mode={journal}; PRAGMA synchronous={synchronous}; PRAGMA secure_delete=ON; {SCHEMA}"
            )

    def capacity(self) -> int | None:
        return None

    def view(self, work: Callable[[Transaction], T]) -> T:
        """Needs no lock of the file, and no disk."""
        with locked(self._reading), _errors():
            return work(SqliteTransaction(self._reader))

    def transact(self, work: Callable[[Transaction], T]) -> T:
        with locked(self._writing), _errors():
            try:
                self._writer.execute("BEGIN IMMEDIATE")
            except sqlite3.Error:
                self._wait_for_others(IMPATIENT_SECONDS)
                raise
            self._wait_for_others(BUSY_SECONDS)
            transaction = SqliteTransaction(self._writer)
            try:
                result = work(transaction)
                self._writer.execute("COMMIT")
                if transaction.has_removed:  # the log still has what `secure_delete` overwrites in the file
                    with suppress(sqlite3.Error):
                        self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                return result
            finally:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")

    def check(self) -> None:
        self.transact(lambda _: None)

    def close(self) -> None:
        with self._writing:
            self._writer.close()
        with self._reading:
            self._reader.close()

    def _wait_for_others(self, seconds: float) -> None:
        self._writer.execute(f"PRAGMA busy_timeout={1000 * seconds:.0f}")


@contextmanager
def opening(
    path: Path, setting: str = "LEXISEG_STATE_DIR", journal: Literal["WAL", "DELETE"] = "WAL"
) -> Iterator[SqliteStore]:
    """The store of a file; what the block cannot read or write is an error of the setting."""
    private_folder(path.parent)
    try:
        yield SqliteStore(path, journal=journal)
    except StoreAway as error:
        expected = f"a folder with room whose {path.name} can be opened ({error}); without it all records begin anew"
        raise InvalidValue.of(setting, str(path.parent), expected) from None


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:  # a full disk, a damaged file, a lock that another process keeps
        raise StoreAway(str(error)) from error
