"""Jobs in Redis, for all gateways of an installation.

    lexiseg:jobs                sorted set: ids by time of creation
    lexiseg:job:{ID}            hash: the job, its counts and times
    lexiseg:job:{ID}:pictures   stream: pictures without an answer; pending entries of its group are held
    lexiseg:job:{ID}:parts      hash: parts by name
    lexiseg:job-holder:HOLDER   exists while the holder's lease runs
    lexiseg:job-erasures        sorted set: ids of jobs with files to be removed, by the time since when

The stream's consumer group is the lease: an entry is delivered to one holder, and claimed from a holder with its key
gone. A commit acknowledges entries and deletes them in one transaction, which makes a picture answered once. What was
delivered over a connection that broke is delivered again. No key has a TTL once a job is added, so that Redis evicts
none (`volatile-lru`). What a call decides by keys that it reads is written in a transaction (MULTI, EXEC), which is
repeated where another client has written to them meanwhile (WATCH).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

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
from lexiseg_service.redis_link import RedisAway, RedisLink, try_write

if TYPE_CHECKING:
    import redis
    from redis.client import Pipeline

T = TypeVar("T")
INDEX = "lexiseg:jobs"
ERASURES = "lexiseg:job-erasures"
GROUP = "gateways"
ENTRIES_PER_CALL = 1000  # of a plan
Work = Callable[["redis.Redis", Any], T]  # of a transaction, with its pipeline


class RedisLedger:
    """As `Ledger`."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link

    def add(self, job: Job, n_bytes: int, limits: Amounts) -> Amounts | None:
        """As `Ledger.add`."""
        notice: Notice = "none" if job.webhook is None else "due"
        content = {"content": to_json(job), "done": 0, "failed": 0, "notice": notice, "client": job.client}
        content |= {"total": job.total, "bytes": n_bytes}
        until = time.time() + ADDING_SECONDS

        def add(client: redis.Redis, pipe: Any) -> Amounts | None:
            if pipe.exists(_job(job.id)):
                return None  # a lost connection had added it
            usage = _usage(client, job.client)
            if not usage.has_room(limits, n_bytes):
                return usage
            pipe.multi()
            pipe.hset(_job(job.id), mapping=content)
            pipe.zadd(INDEX, {job.id: job.created})
            pipe.zadd(ERASURES, {job.id: until})
            return None

        return self._transaction(add, INDEX)  # every job that is added is written there

    def plan(self, identity: str, pictures: Sequence[Picture]) -> bool:
        """As `Ledger.plan`."""
        key = _pictures(identity)
        for start in range(0, len(pictures), ENTRIES_PER_CALL):
            some = pictures[start : start + ENTRIES_PER_CALL]
            self._ask(partial(_add_entries, key=key, pictures=some))

        def open_to_all(client: redis.Redis, pipe: Any) -> bool:
            if not pipe.exists(_job(identity)):
                return False
            is_open = any(group["name"] == GROUP.encode() for group in pipe.xinfo_groups(key))
            pipe.multi()
            if not is_open:
                pipe.xgroup_create(key, GROUP, "0")
            pipe.persist(key)
            pipe.zrem(ERASURES, identity)
            return True

        return self._transaction(open_to_all, _job(identity), key)

    def jobs(self) -> list[Job]:
        """As `Ledger.jobs`."""
        jobs_or_none = (self.job(identity) for identity in self._ids())
        return [job for job in jobs_or_none if job is not None]

    def job(self, identity: str) -> Job | None:
        """As `Ledger.job`."""
        content = self._ask(lambda client: cast("bytes | None", client.hget(_job(identity), "content")))
        return None if content is None else from_json(content)

    def open_jobs(self) -> list[OpenJob]:
        """As `Ledger.open_jobs`."""
        index: Any = self._ask(lambda client: client.zrange(INDEX, 0, -1, withscores=True))
        created = {identity.decode(): time for identity, time in index}
        names = ("ended", "started", "done", "failed", "total", "client")
        standings = self._ask(lambda client: _fields(client, tuple(created), *names))
        return [
            self._open_job(identity, created[identity], *standing)
            for identity, (ended, *standing) in zip(created, standings, strict=True)
            if ended is None and standing[1] is not None
        ]

    def _open_job(self, identity: str, created: float, started: bytes | None, *standing: bytes | None) -> OpenJob:
        n_done, failed, total, client = standing
        if total is None or client is None:  # added by 0.3, which kept both only in its content
            job = self.job(identity)
            total, client = (b"0", b"") if job is None else (b"%d" % job.total, job.client.encode())
        left = int(total) - int(n_done or 0) - int(failed or 0)
        return OpenJob(identity, client.decode(), left, created, started is not None)

    def progress(self, identity: str) -> Progress | None:
        """As `Ledger.progress`."""
        names = ("done", "failed", "started", "ended", "detail", "notice", "told")
        values = self._ask(lambda client: cast("list[bytes | None]", client.hmget(_job(identity), names)))
        if values[0] is None:
            return None
        n_done, failed, started, ended, detail, notice, delivered = (
            None if each is None else each.decode() for each in values
        )
        times = None if started is None else float(started), None if ended is None else float(ended)
        rate = self._rate(identity, *times, int(n_done or 0) + int(failed or 0))
        return Progress(
            int(n_done or 0), int(failed or 0), *times, rate, detail, cast("Notice", notice), int(delivered or 0)
        )

    def _rate(self, identity: str, started: float | None, ended: float | None, settled: int) -> float:
        if started is None:
            return 0.0
        if ended is not None:
            return rate_of(settled, ended - started)
        now = time.time()
        since = measured_since(started, now)
        return rate_of(sum(part.done + part.failed for part in self.parts(identity) if part.at >= since), now - since)

    def beat(self, holders: Sequence[str], seconds: float) -> None:
        """As `Ledger.beat`."""
        if holders:
            self._ask(lambda client: _beat(client, holders, max(1, round(1000 * seconds))))

    def leave(self, holder: str) -> None:
        """As `Ledger.leave`."""
        self._ask(lambda client: client.delete(_holder(holder)))

    def take(self, identity: str, holder: str, count: int) -> list[Picture]:
        """As `Ledger.take`."""
        pictures = self._ask(lambda client: _take(client, _pictures(identity), holder, count))
        if pictures:
            now = time.time()
            self._ask(lambda client: client.hsetnx(_job(identity), "started", str(now)))
        return [Picture(int(entry[b"number"]), entry[b"name"].decode(), entry[b"place"].decode()) for entry in pictures]

    def commit(self, identity: str, name: str, outcomes: Mapping[int, bool], n_bytes: int) -> bool:
        """As `Ledger.commit`."""
        job, pictures, parts = _job(identity), _pictures(identity), _parts(identity)

        def commit(client: redis.Redis, pipe: Any) -> bool:
            content, done, failed = pipe.hmget(job, "content", "done", "failed")
            if content is None:
                return False
            if pipe.hexists(parts, name):
                return True
            left = _unanswered(client, pictures, tuple(outcomes))
            n_failed = sum(outcomes[number] for number in left)
            n_done = len(left) - n_failed
            superseded = ",".join(str(number) for number in outcomes if number not in left)
            place, now = pipe.hlen(parts), f"{time.time():.3f}"
            pipe.multi()
            if left:
                entries = [_entry(number) for number in left]
                pipe.xack(pictures, GROUP, *entries)
                pipe.xdel(pictures, *entries)
            pipe.hset(parts, name, f"{place} {now} {n_done} {n_failed} {superseded}")
            pipe.hincrby(job, "done", n_done)
            pipe.hincrby(job, "failed", n_failed)
            pipe.hincrby(job, "bytes", n_bytes)
            pipe.hdel(job, "detail")
            if int(done) + int(failed) + len(left) == from_json(content).total:
                pipe.hset(job, "ended", now)
            return True

        return self._transaction(commit, job, parts)  # every commit writes both

    def parts(self, identity: str, after: int = 0) -> list[Part]:
        """As `Ledger.parts`."""
        contents = self._ask(lambda client: cast("dict[bytes, bytes]", client.hgetall(_parts(identity))))
        placed = sorted(_part(name, content) for name, content in contents.items())
        return [part for _, part in placed[after:]]

    def note(self, identity: str, detail: str | None) -> None:
        """As `Ledger.note`."""
        self._set(identity, "detail", detail or "")

    def due_notices(self, holder: str) -> list[str]:
        """As `Ledger.due_notices`."""
        identities = self._ids()
        notices = self._ask(lambda client: _fields(client, identities, "notice"))
        due = [identity for identity, (notice,) in zip(identities, notices, strict=True) if notice == b"due"]
        return [identity for identity in due if self._take_notice(identity, holder)]

    def _take_notice(self, identity: str, holder: str) -> bool:
        def take(client: redis.Redis, pipe: Any) -> bool:
            ended, notice, before = pipe.hmget(_job(identity), "ended", "notice", "notifier")
            if ended is None or notice != b"due":
                return False
            if before is not None and before.decode() != holder and pipe.exists(_holder(before.decode())):
                return False
            pipe.multi()
            pipe.hset(_job(identity), "notifier", holder)
            return True

        return self._transaction(take, _job(identity))

    def noticed(self, identity: str, notice: Notice) -> None:
        """As `Ledger.noticed`."""
        self._set(identity, "notice", notice)

    def record_delivered(self, identity: str, count: int) -> None:
        """As `Ledger.tell`."""
        self._set(identity, "told", str(count))

    def erase(self, identities: Sequence[str]) -> None:
        """As `Ledger.erase`."""
        if identities:
            self._ask(lambda client: _erase(client, identities, time.time()))

    def erasures(self) -> Mapping[str, float]:
        """As `Ledger.erasures`."""
        recorded: Any = self._ask(lambda client: client.zrange(ERASURES, 0, -1, withscores=True))
        return {identity.decode(): since for identity, since in recorded}

    def erased(self, identity: str) -> None:
        """As `Ledger.erased`."""
        self._ask(lambda client: client.zrem(ERASURES, identity))

    def check(self) -> None:
        """As `Ledger.check`."""
        self._ask(try_write)

    def close(self) -> None:
        """As `Ledger.close`."""
        self._link.close()

    def _ids(self) -> list[str]:
        return [each.decode() for each in self._ask(lambda client: cast("list[bytes]", client.zrange(INDEX, 0, -1)))]

    def _set(self, identity: str, field: str, value: str) -> None:
        """Set a field, or remove it by ""; of a job that is gone nothing is written."""

        def set_field(client: redis.Redis, pipe: Any) -> None:
            is_there = pipe.exists(_job(identity))
            pipe.multi()
            if is_there and value:
                pipe.hset(_job(identity), field, value)
            elif is_there:
                pipe.hdel(_job(identity), field)

        self._transaction(set_field, _job(identity))

    def _transaction(self, work: Work[T], *watched: str) -> T:
        """The result of `work`, which reads, then calls `multi` and writes; again where a watched key has changed.

        Each attempt has the whole time of a call: in a burst of many all but one are in vain.
        """
        from redis.exceptions import WatchError

        def attempt(client: redis.Redis) -> tuple[T] | None:
            pipeline: Any = client.pipeline()
            with pipeline as pipe, suppress(WatchError):
                pipe.watch(*watched)
                result = work(client, pipe)
                pipe.execute()
                return (result,)
            return None

        while (outcome := self._ask(attempt)) is None:
            pass
        return outcome[0]

    def _ask(self, call: Callable[[redis.Redis], T]) -> T:
        try:
            return self._link.call(call)
        except RedisAway as error:
            raise LedgerAway(str(error)) from error


def _add_entries(client: redis.Redis, key: str, pictures: Sequence[Picture]) -> None:
    """Add pictures to a stream; those that a lost connection had added before are left."""
    last = _last_number(client, key)
    with client.pipeline(transaction=True) as pipe:
        for picture in pictures:
            if picture.number > last:
                fields: Any = {"number": picture.number, "name": picture.name, "place": picture.place}
                pipe.xadd(key, fields, id=_entry(picture.number))
        pipe.expire(key, int(ADDING_SECONDS))
        pipe.execute()


def _last_number(client: redis.Redis, key: str) -> int:
    last = cast("list[Any]", client.xrevrange(key, count=1))
    return int(last[0][1][b"number"]) if last else -1


def _take(client: redis.Redis, key: str, holder: str, count: int) -> list[dict[bytes, bytes]]:
    """Entries that the holder has already, else new ones, else entries of holders that are gone."""
    from redis import ResponseError  # here, not at the start of every gateway: the import takes a quarter of a second

    try:
        for start in ("0", ">"):
            read: Any = client.xreadgroup(GROUP, holder, {key: start}, count=count)
            if read and (entries := [fields for _, fields in read[0][1] if fields]):
                return entries
        return _claim(client, key, holder, count)
    except ResponseError:  # the job is gone
        return []


def _claim(client: redis.Redis, key: str, holder: str, count: int) -> list[dict[bytes, bytes]]:
    """Entries of a holder that is gone."""
    for consumer in client.xinfo_consumers(key, GROUP):
        other = consumer["name"].decode()
        if other == holder or client.exists(_holder(other)):
            continue
        pending: Any = client.xpending_range(key, GROUP, "-", "+", count, other)
        if pending:
            ids = [entry["message_id"] for entry in pending]
            # Of two that claim them at once, one finds them idle for so long.
            idle = min(entry["time_since_delivered"] for entry in pending)
            claimed: Any = client.xclaim(key, GROUP, holder, idle, ids)
            if entries := [fields for _, fields in claimed if fields]:
                return entries
        else:
            client.transaction(partial(_forget, key=key, holder=other), _holder(other))
    return []


def _forget(pipe: Pipeline, key: str, holder: str) -> None:
    """Remove a holder that is gone, unless it comes back meanwhile."""
    is_gone = not pipe.exists(_holder(holder)) and not pipe.xpending_range(key, GROUP, "-", "+", 1, holder)
    pipe.multi()
    if is_gone:
        pipe.xgroup_delconsumer(key, GROUP, holder)


def _usage(client: redis.Redis, owner: str) -> Amounts:
    """What the jobs of a client take; jobs of 0.3 have no client."""
    index: Any = client.zrange(INDEX, 0, -1)
    unended = n_jobs = n_bytes = 0
    for name, ended, size in _fields(client, [each.decode() for each in index], "client", "ended", "bytes"):
        if name == owner.encode():
            n_jobs += 1
            unended += ended is None
            n_bytes += int(size or 0)
    return Amounts(unended, n_jobs, n_bytes)


def _unanswered(client: redis.Redis, key: str, numbers: Sequence[int]) -> set[int]:
    """The numbers of pictures that have an entry: a commit deletes it."""
    with client.pipeline(transaction=False) as pipe:
        for number in numbers:
            pipe.xrange(key, _entry(number), _entry(number))
        return {number for number, exists in zip(numbers, pipe.execute(), strict=True) if exists}


def _entry(number: int) -> str:
    return f"0-{number + 1}"


def _beat(client: redis.Redis, holders: Sequence[str], milliseconds: int) -> None:
    with client.pipeline(transaction=False) as pipe:
        for holder in holders:
            pipe.set(_holder(holder), "1", px=milliseconds)
        pipe.execute()


def _fields(client: redis.Redis, identities: Sequence[str], *fields: str) -> list[list[bytes | None]]:
    with client.pipeline(transaction=False) as pipe:
        for identity in identities:
            pipe.hmget(_job(identity), fields)
        return list(pipe.execute())


def _erase(client: redis.Redis, identities: Sequence[str], now: float) -> None:
    from redis.exceptions import OutOfMemoryError

    recorded = dict.fromkeys(identities, now)
    try:
        _remove(client, identities, recorded)
    except OutOfMemoryError:  # a removal needs no memory; what it frees may be enough for its record
        _remove(client, identities, {})
        with suppress(OutOfMemoryError):
            client.zadd(ERASURES, recorded)


def _remove(client: redis.Redis, identities: Sequence[str], recorded: Mapping[str, float]) -> None:
    with client.pipeline(transaction=bool(recorded)) as pipe:  # a full Redis queues nothing, not even a removal
        if recorded:
            pipe.zadd(ERASURES, recorded)
        pipe.zrem(INDEX, *identities)
        for identity in identities:
            pipe.delete(_job(identity), _pictures(identity), _parts(identity))
        pipe.execute()


def _part(name: bytes, content: bytes) -> tuple[int, Part]:
    """The place and the part of what `commit` has written."""
    place, at, n_done, failed, superseded = content.decode().split(" ")
    numbers = [int(number) for number in superseded.split(",") if number]
    return int(place), Part(name.decode(), int(n_done), int(failed), numbers, float(at))


def _job(identity: str) -> str:
    return f"lexiseg:job:{{{identity}}}"


def _pictures(identity: str) -> str:
    return f"{_job(identity)}:pictures"


def _parts(identity: str) -> str:
    return f"{_job(identity)}:parts"


def _holder(holder: str) -> str:
    return f"lexiseg:job-holder:{holder}"
