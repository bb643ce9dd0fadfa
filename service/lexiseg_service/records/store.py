"""One store of records for all kinds, with the items that belong to them.

    record   kind, id, owner, state, version, expires, bytes, body
    item     content of a record that is large or never changes, read by its name

`Store.transact` runs a function that reads, decides and writes in one step for all processes. So a quota counts every
writer, a lease has one holder, and of two writers one sees what the other has written.

No job library (Celery, dramatiq, huey, Ray jobs) has a lease, one line for each picture, a quota and an erasure in one
transaction. So SQLite and redis-py keep the records, and the rules of jobs are in `batch/ledger/job.py`. Limits of one
owner, and of all, are counted in the step that adds a record, so that no burst passes them.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeVar

from lexiseg_service.errors import QueueFull, RateLimited, Temporary
from lexiseg_service.shares import CLIENT_SHARE

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
        """The result of a function that reads and writes in one step, or not at all; it is repeated after conflicts."""
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


class Amounts(NamedTuple):
    """What some records take, or may take."""

    unended: float = math.inf  # records that have not ended
    number: float = math.inf
    nbytes: float = math.inf


class Excess(NamedTuple):
    """A limit that a further record would pass."""

    amount: str  # a field of `Amounts`
    is_owners: bool  # of the owner of the record; else of all
    used: int  # by other records
    wanted: int  # by the further one
    limit: int

    def refusal(self, plural: str, content: str, seconds: int) -> Temporary:
        """The refusal of a further one of these records, whose bytes are of some `content`."""
        holder, used, limit = "this client" if self.is_owners else "all clients", self.used, self.limit
        if self.amount == "unended":
            kind = RateLimited if self.is_owners else QueueFull
            return kind(f"{used} {plural} of {holder} have not ended, at most {limit} may now", seconds)
        if self.amount == "number":
            detail = f"{used} {plural} of {holder} are kept, at most {limit} are"
        else:
            bytes_now = f"{content} of {plural} of {holder} have {used:,} bytes, and this one adds {self.wanted:,}"
            detail = f"{bytes_now}; at most {limit:,} are kept (LEXISEG_JOB_BYTES_PER_CLIENT)"
        return RateLimited(f"{detail}; remove {plural}, or wait until they expire", seconds)


class Quota(NamedTuple):
    """Limits of a kind of records; of the unended ones an owner may have a share of what others leave."""

    of_owner: Amounts
    of_all: Amounts = Amounts()
    unended_states: Collection[str] = ()

    def excess(self, rows: Sequence[Record], record: Record) -> Excess | None:
        """The first limit that a record passes when it is written next to others; None: there is room."""
        others = [row for row in rows if row.id != record.id and not row.has_expired]
        usage, own_usage = self._usage(others), self._usage([row for row in others if row.owner == record.owner])
        share = CLIENT_SHARE * (self.of_all.unended - usage.unended + own_usage.unended)
        of_owner = self.of_owner._replace(unended=min(self.of_owner.unended, max(1, share)))
        of_all = False, usage, self.of_all
        for is_owners, used, limits in ((True, own_usage, of_owner), of_all) if record.owner else (of_all,):
            amounts = zip(Amounts._fields, used, self._usage([record]), limits, strict=True)
            for amount, present, wanted, limit in amounts:
                if present + wanted > limit:
                    return Excess(amount, is_owners, int(present), int(wanted), int(limit))
        return None

    def _usage(self, rows: Sequence[Record]) -> Amounts:
        unended = sum(row.state in self.unended_states for row in rows)
        return Amounts(unended, len(rows), sum(row.nbytes for row in rows))
