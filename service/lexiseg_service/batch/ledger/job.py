"""A job, its pictures and its parts, and the ledger that keeps them as records.

A picture is done, has a problem, or is not yet looked at. The first two are in a part. A holder, one lane of a gateway,
takes some of the others, asks, writes the answers to a file of lines, and commits that file as a part. A crash before
the commit leaves pictures with an expired lease: others take them. A picture that two holders have
answered belongs to the part that was committed first; the later part lists it as superseded.

    batch-job       record by id: where it stands (`Progress`); item "job": what was asked
    batch-picture   items: names and places, some in each
    batch-part      items by name of part
    batch-holder    record by holder: expires with its lease
    batch-erasure   record by id of a job with files to be removed

Pictures are taken in order. So it is enough to keep the first one that was never taken, and for each holder the
numbers of the ones that it has.

A folder is the ledger of a bulk job, with chunks as parts: `ledger/folder.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, NamedTuple, TypeVar

import orjson
from pydantic import TypeAdapter

from lexiseg_service.batch.sources.source import Picture, SourceKind
from lexiseg_service.errors import NotReady
from lexiseg_service.records.store import Excess, Quota, Record, Store, StoreAway, StoreFull, Transaction
from lexiseg_service.retries import AWAY_SECONDS

T = TypeVar("T")
Line = dict[str, Any]  # of results: number, image, and either answer or problem
ADDING_SECONDS = 3600.0  # from `Ledger.add` to `Ledger.plan`; after it the gateway that added the job is gone
Notice = Literal["none", "due", "sent", "given up"]  # of the end of a job, to its webhook
RECENT_SECONDS = 60.0  # over which the rate of a running job is measured
# Kinds of records; 0.4 has keys in Redis by other names.
JOB, PICTURES, PARTS, HOLDER, ERASURE = "batch-job", "batch-picture", "batch-part", "batch-holder", "batch-erasure"
CONTENT = "job"  # name of an item
ADDED, OPEN, NOTICE_DUE, ENDED = STATES = "added", "open", "notice due", "ended"  # states of the record of a job
UNENDED = ADDED, OPEN
PICTURES_PER_ITEM = 64
ITEMS_PER_WRITE = 16


@dataclass(frozen=True)
class Webhook:
    """An address that is told of the end of a job, and the secret that signs what it is told."""

    url: str
    secret: str = field(repr=False)


@dataclass(frozen=True)
class Job:
    """What a client asked for; never changes."""

    id: str
    owner: str  # id of the API key
    client: str  # key or address, for limits and queues
    created: float  # seconds since the epoch
    total: int  # pictures
    kind: SourceKind
    root: str  # the folder or the archive; "" for URLs and tasks
    question: Mapping[str, Any]  # the fields of `Question` that were sent; what they named then is in a file
    classes: Sequence[str]  # labels by class_index
    to: str  # form of the results
    webhook: Webhook | None = None
    tool: str = ""  # what an adapter keeps with it


JOB_JSON = TypeAdapter(Job)


class Part(NamedTuple):
    """A file of answers, one line each."""

    name: str
    done: int
    failed: int
    superseded: Sequence[int] = ()  # numbers of pictures that an earlier part has
    at: float = 0.0  # seconds since the epoch


@dataclass
class Progress:
    """Where a job stands, the body of its record."""

    client: str
    created: float  # seconds since the epoch
    total: int
    notice: Notice
    n_bytes: int  # of its question, archive and results
    adding_until: float | None = None  # seconds since the epoch; None: its pictures are there
    done: int = 0
    failed: int = 0
    started: float | None = None
    ended: float | None = None
    detail: str | None = None  # what holds it up
    n_delivered: int = 0  # answers that its notice has passed on, where it passes them on in batches
    notifier: str = ""  # holder that sends the notice
    next: int = 0  # pictures from this number on were never taken
    leases: dict[str, list[int]] = field(default_factory=dict)  # numbers of pictures by holder
    parts: int = 0
    recent: list[tuple[float, int]] = field(default_factory=list)  # times and pictures of commits, see RECENT_SECONDS

    @classmethod
    def of(cls, job: Job, n_bytes: int = 0, adding_until: float | None = None) -> Progress:
        notice: Notice = "none" if job.webhook is None else "due"
        return cls(job.client, job.created, job.total, notice, n_bytes, adding_until)

    def record(self, identity: str) -> Record:
        if self.adding_until is not None:
            state = ADDED
        elif self.ended is None:
            state = OPEN
        else:
            state = NOTICE_DUE if self.notice == "due" else ENDED
        body = orjson.dumps(self)
        return Record(JOB, identity, self.client, state, "", self.adding_until, self.n_bytes, body)

    @classmethod
    def read(cls, record: Record) -> Progress:
        return cls(**orjson.loads(record.body))

    def take(self, holder: str, count: int, gone: Container[str], now: float) -> None:
        """Give a holder pictures until it has `count`: of holders that are `gone`, and new ones."""
        if self.ended is not None or self.adding_until is not None:
            return
        own = self.leases.get(holder, [])
        expired = [lease for other, lease in self.leases.items() if other != holder and other in gone]
        free = [number for lease in expired for number in lease][: max(0, count - len(own))]
        fresh = range(self.next, min(self.total, self.next + max(0, count - len(own) - len(free))))
        self._release(free)
        if numbers := sorted([*own, *free, *fresh]):
            self.next += len(fresh)
            self.leases[holder] = numbers
            self.started = self.started or now

    def commit(self, outcomes: Mapping[int, bool], n_bytes: int, now: float) -> tuple[int, int, list[int]]:
        """Count answers; returns how many are done, how many failed, and which pictures an earlier part has."""
        unanswered = {number for lease in self.leases.values() for number in lease}
        superseded = [number for number in outcomes if number not in unanswered]
        self._release(outcomes)
        n_failed = sum(is_failure for number, is_failure in outcomes.items() if number in unanswered)
        n_done = len(outcomes) - len(superseded) - n_failed
        self.done, self.failed = self.done + n_done, self.failed + n_failed
        self.n_bytes, self.parts, self.detail = self.n_bytes + n_bytes, self.parts + 1, None
        recent = [each for each in self.recent if each[0] >= now - RECENT_SECONDS]
        at, count = recent.pop() if recent and now - recent[-1][0] < 1 else (now, 0)  # one entry a second
        self.recent = [*recent, (at, count + n_done + n_failed)]
        if not self.left:
            self.ended = now
        return n_done, n_failed, superseded

    def _release(self, numbers: Iterable[int]) -> None:
        free = {*numbers}
        leases = {holder: [n for n in lease if n not in free] for holder, lease in self.leases.items()}
        self.leases = {holder: lease for holder, lease in leases.items() if lease}

    @property
    def left(self) -> int:
        """Pictures without an answer."""
        return self.total - self.done - self.failed

    def rate(self, now: float) -> float:
        """Pictures a second: of all if it has ended, else lately."""
        if self.started is None:
            return 0.0
        if self.ended is not None:
            settled, seconds = self.total, self.ended - self.started
        else:
            since = max(self.started, now - RECENT_SECONDS)
            settled, seconds = sum(count for at, count in self.recent if at >= since), now - since
        return settled / seconds if seconds > 0 else 0.0


class Ledger:
    """Jobs, pictures and parts in a store. Methods block, are thread-safe, and raise StoreAway: repeat the call."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.check = store.check
        self.close = store.close

    def add(self, job: Job, n_bytes: int, quota: Quota) -> Excess | None:
        """Add a job, which is erased after some time unless `plan` follows; or give the limit that it would pass."""
        progress = Progress.of(job, n_bytes, self._store.now() + ADDING_SECONDS)

        def add(step: Transaction) -> Excess | None:
            rows = step.rows(JOB)
            if any(row.id == job.id for row in rows):
                return None  # a lost connection had added it
            record = progress.record(job.id)
            if (excess := quota.excess(rows, record)) is not None:
                return excess
            step.write(record)
            step.write_items(JOB, job.id, {CONTENT: orjson.dumps(job)})
            return None

        return self._store.transact(add)

    def plan(self, identity: str, pictures: Sequence[Picture]) -> bool:
        """Add the pictures of a job, which may be taken from now on; False: there is no such job."""
        for items in picture_items(pictures):

            def write(step: Transaction, _: Progress, some: Mapping[str, bytes] = items) -> None:
                step.write_items(PICTURES, identity, some)

            if self._change(identity, write) is None:
                return False
        return self.update(identity, {"adding_until": None}) is not None

    def jobs(self) -> list[Job]:
        jobs = [self.job(row.id) for row in self._store.view(lambda step: step.rows(JOB))]
        return sorted((job for job in jobs if job is not None), key=lambda job: (job.created, job.id))

    def job(self, identity: str) -> Job | None:
        items = self._store.view(lambda step: step.items(JOB, identity, [CONTENT]))
        return JOB_JSON.validate_json(items[CONTENT]) if items else None

    def all_progress(self, states: Container[str] = STATES) -> dict[str, Progress]:
        """Where the jobs of some states stand, by id, the oldest first."""

        def read(step: Transaction) -> list[Record]:
            return step.records(JOB, [row.id for row in step.rows(JOB) if row.state in states])

        jobs = [(record.id, Progress.read(record)) for record in self._store.view(read)]
        return dict(sorted(jobs, key=lambda job: (job[1].created, job[0])))

    def progress(self, identity: str) -> Progress | None:
        """Where a job stands; None: there is no such job."""
        record = self._store.view(lambda step: step.read(JOB, identity))
        return None if record is None else Progress.read(record)

    def renew_leases(self, holders: Sequence[str], seconds: float) -> None:
        now = self._store.now()
        rows = self._store.view(lambda step: step.rows(HOLDER))

        def renew(step: Transaction) -> None:
            for row in rows:
                if row.id not in holders and (row.expires or 0.0) <= now:
                    step.remove(HOLDER, row.id)
            for holder in holders:
                step.write(Record(HOLDER, holder, expires=now + seconds))

        self._store.transact(renew)

    def release_lease(self, holder: str) -> None:
        self._store.transact(lambda step: step.remove(HOLDER, holder))

    def _alive(self) -> tuple[float, set[str]]:
        now = self._store.now()
        rows = self._store.view(lambda step: step.rows(HOLDER))
        return now, {row.id for row in rows if row.expires is not None and row.expires > now}

    def take(self, identity: str, holder: str, count: int) -> list[Picture]:
        """Take up to `count` pictures that nobody else holds; its own come again."""
        before = self.progress(identity)
        now, alive = self._alive()  # read after the holders: one that begins meanwhile is not taken for gone
        gone = set() if before is None else before.leases.keys() - alive
        progress = self._change(identity, lambda _, progress: progress.take(holder, count, gone, now))
        numbers = [] if progress is None else progress.leases.get(holder, [])[:count]
        names = sorted({_picture_item(number) for number in numbers})
        items = self._store.view(lambda step: step.items(PICTURES, identity, names)) if names else {}
        taken = sorted(values for content in items.values() for values in orjson.loads(content) if values[0] in numbers)
        return [Picture(name, place, number=number) for number, name, place in taken]

    def commit(self, identity: str, name: str, outcomes: Mapping[int, bool], n_bytes: int) -> bool:
        """Record a file of answers by picture, each with whether it failed; False: no such job. Repeatable."""
        now = self._store.now()

        def commit(step: Transaction, progress: Progress) -> None:
            if step.items(PARTS, identity, [name]):
                return
            place = progress.parts
            counts = progress.commit(outcomes, n_bytes, now)
            step.write_items(PARTS, identity, {name: orjson.dumps((place, now, *counts))})
            if progress.ended is not None:
                step.remove(PICTURES, identity)

        return self._change(identity, commit) is not None

    def parts(self, identity: str, after: int = 0) -> list[Part]:
        """The parts of a job in the order of their commits, without the first `after`."""
        items = self._store.view(lambda step: step.items(PARTS, identity))
        placed = sorted((*orjson.loads(content), name) for name, content in items.items())
        return [Part(name, good, failed, superseded, at) for _, at, good, failed, superseded, name in placed[after:]]

    def due_notices(self, holder: str) -> list[str]:
        """Take the jobs that have ended, with a webhook that is not told yet, and a notice that nobody else has."""
        rows = self._store.view(lambda step: step.rows(JOB))
        due = [row.id for row in rows if row.state == NOTICE_DUE]
        alive = self._alive()[1] if due else set()

        def take(_: Transaction, progress: Progress) -> None:
            if progress.notifier not in alive:
                progress.notifier = holder

        progresss = ((identity, self._change(identity, take)) for identity in due)
        return [identity for identity, each in progresss if each and (each.notice, each.notifier) == ("due", holder)]

    def erase(self, identities: Sequence[str]) -> None:
        """Forget jobs, in one step, and record that their files are to be removed."""
        now = self._store.now()

        def remove(step: Transaction, *, is_recorded: bool = False) -> None:
            for identity in identities:
                for kind in (JOB, PICTURES, PARTS):
                    step.remove(kind, identity)
                if is_recorded:
                    step.write(Record(ERASURE, identity, expires=now))

        recorded = partial(remove, is_recorded=True)
        try:
            self._store.transact(recorded)
        except StoreFull:  # a removal needs no memory; what it frees may be enough for its record
            self._store.transact(remove)
            with suppress(StoreFull):
                self._store.transact(recorded)

    def erasures(self) -> Mapping[str, float]:
        """Ids of the jobs with files to be removed, and from when, in seconds since the epoch.

        A job that is added and not planned is one of them, from some time in the future.
        """
        rows = self._store.view(lambda step: [*step.rows(JOB), *step.rows(ERASURE)])
        return {row.id: row.expires for row in rows if row.expires is not None}

    def record_erased(self, identity: str) -> None:
        self._store.transact(lambda step: step.remove(ERASURE, identity))

    def update(self, identity: str, values: Mapping[str, Any]) -> Progress | None:
        """Set fields of where a job stands; None: there is no such job."""
        return self._change(identity, lambda _, progress: vars(progress).update(values))

    def _change(self, identity: str, change: Callable[[Transaction, Progress], object]) -> Progress | None:
        """Where a job stands after a change; None: there is no such job."""

        def read_and_write(step: Transaction) -> Progress | None:
            record = step.read(JOB, identity)
            if record is None:
                return None
            progress = Progress.read(record)
            change(step, progress)
            if (changed := progress.record(identity)) != record:
                step.write(changed)
            return progress

        return self._store.transact(read_and_write)


def picture_items(pictures: Sequence[Picture]) -> Iterator[dict[str, bytes]]:
    """Pictures as items, some in each, and some items in each write."""
    groups: dict[str, list[tuple[int, str, str]]] = {}
    for picture in pictures:
        groups.setdefault(_picture_item(picture.number), []).append((picture.number, picture.name, picture.place))
    names = [*groups]
    for start in range(0, len(names), ITEMS_PER_WRITE):
        yield {name: orjson.dumps(groups[name]) for name in names[start : start + ITEMS_PER_WRITE]}


def _picture_item(number: int) -> str:
    return f"{number // PICTURES_PER_ITEM:08d}"


async def ask_ledger(call: Callable[..., T], *arguments: Any) -> T:
    try:
        return await asyncio.to_thread(call, *arguments)
    except StoreAway as error:
        raise NotReady(f"jobs cannot be read or written now: {error}", AWAY_SECONDS) from None
