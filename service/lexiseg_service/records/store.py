"""One store of records for all kinds, with the items that belong to them.

    record   kind, id, owner, state, version, expires, bytes, body
    item     content of a record that is large or never changes, read by its name

`Store.transact` runs a function that reads, decides and writes in one step for all processes. So a quota counts every
writer, a lease has one holder, and of two writers one sees what the other has written.

No job library (Celery, dramatiq, huey, Ray jobs) has a lease, one line for each picture, a quota and an erasure in one
transaction. So SQLite and redis-py keep the records, and the rules of jobs are in `batch/ledger/job.py`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, TypeVar

T = TypeVar("T")
LOCK_SECONDS = 5.0  # for a transaction of another thread


class StoreAway(Exception):
    """Nothing can be read or written now; the same call may be repeated. The message says why."""


class StoreFull(StoreAway):
    """Nothing can be written before something is removed."""


@dataclass(frozen=True)
class Record:
    """One record; `rows` lists them without bodies."""

    kind: str
    id: str
    owner: str = ""  # API key or client, by which quotas count
    state: str = ""
    version: str = ""
    expires: float | None = None  # seconds since the epoch; None: never
    nbytes: int = 0  # of the record, its items and its files, for quotas
    body: bytes = b""

    @property
    def has_expired(self) -> bool:
        """Whether nobody finds it any more, by the clock of this process."""
        return self.expires is not None and self.expires <= time.time()


class Transaction(Protocol):
    """What a function for `Store.view` reads, and one for `Store.transact` also writes; it does not read its writes."""

    def read(self, kind: str, identity: str) -> Record | None: ...

    def records(self, kind: str, identities: Sequence[str]) -> list[Record]: ...

    def rows(self, kind: str) -> list[Record]:
        """All records of a kind by id, without bodies."""
        ...

    def items(self, kind: str, identity: str, names: Sequence[str] | None = None) -> dict[str, bytes]:
        """Items by name, None: all; missing ones are left out."""
        ...

    def item_names(self, kind: str, identity: str) -> list[str]: ...

    def ids_with_items(self, kind: str) -> list[str]:
        """The ids that may have items, also of records that are not there."""
        ...

    def write(self, record: Record) -> None: ...

    def write_items(self, kind: str, identity: str, items: Mapping[str, bytes]) -> None: ...

    def remove_items(self, kind: str, identity: str, names: Sequence[str]) -> None: ...

    def remove(self, kind: str, identity: str) -> None: ...


class Store(Protocol):
    """Methods block, may be called by any thread, and raise StoreAway."""

    def now(self) -> float:
        """Seconds since the epoch, by one clock for all processes."""
        ...

    def capacity(self) -> int | None:
        """Bytes that all of it may take; None: unknown."""
        ...

    def view(self, work: Callable[[Transaction], T]) -> T:
        """The result of a function that reads."""
        ...

    def transact(self, work: Callable[[Transaction], T]) -> T:
        """The result of a function that reads and writes in one step.

        It runs again if a record or a list of rows that it has read was changed meanwhile. If it raises, nothing is
        written.
        """
        ...

    def check(self) -> None:
        """Try whether something can be written."""
        ...

    def close(self) -> None: ...


@contextmanager
def locked(lock: threading.Lock) -> Iterator[None]:
    """Hold a lock of this process. Raises StoreAway: another thread has it for too long."""
    if not lock.acquire(timeout=LOCK_SECONDS):
        raise StoreAway(f"other calls have taken more than {LOCK_SECONDS:g} seconds")
    try:
        yield
    finally:
        lock.release()
