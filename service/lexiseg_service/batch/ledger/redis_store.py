"""Jobs in Redis, for all gateways of an installation.

    lexiseg:jobs                sorted set: ids by time of creation
    lexiseg:job:{ID}            hash: the job, its counts and times
    lexiseg:job:{ID}:pictures   stream: pictures without an answer; pending entries of its group are held
    lexiseg:job:{ID}:parts      hash: parts by name
    lexiseg:job-holder:HOLDER   exists while the holder's lease runs
    lexiseg:job-erasures        sorted set: ids of jobs whose files are to be removed, by the time since when

The stream's consumer group is the lease: an entry is delivered to one holder, and claimed from a holder whose key is
gone. Acknowledging an entry succeeds once, which makes a picture answered once. What was delivered over a connection
that broke is delivered again. No key has a TTL once a job is added, so that Redis evicts none (`volatile-lru`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

from lexiseg_service.batch.ledger.job import (
    ADDING_SECONDS,
    Job,
    Notice,
    OpenJob,
    Part,
    Picture,
    Progress,
    StoreAway,
    from_json,
    measured_since,
    rate_of,
    to_json,
)
from lexiseg_service.batch.ledger.quota import Amounts
from lexiseg_service.redis_link import RedisAway, RedisLink

if TYPE_CHECKING:
    import redis

T = TypeVar("T")
INDEX = "lexiseg:jobs"
ERASURES = "lexiseg:job-erasures"
GROUP = "gateways"
ENTRIES_PER_CALL = 1000  # of a plan
# KEYS: job, index, erasures. ARGV: id, created, job as JSON, notice, client, total, bytes, time until when it must be
# planned, and the limits on unended jobs, jobs and bytes. Run twice, it changes nothing. Jobs of 0.3 have no client.
ADD = """
if redis.call('EXISTS', KEYS[1]) == 1 then return {} end
local unended, kept, bytes = 0, 0, 0
for _, id in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do
  local other = redis.call('HMGET', 'lexiseg:job:{' .. id .. '}', 'client', 'ended', 'bytes')
  if other[1] == ARGV[5] then
    kept = kept + 1
    if not other[2] then unended = unended + 1 end
    bytes = bytes + (other[3] or 0)
  end
end
if unended >= tonumber(ARGV[9]) or kept >= tonumber(ARGV[10]) or bytes + ARGV[7] > tonumber(ARGV[11]) then
  return {unended, kept, bytes}
end
redis.call('HSET', KEYS[1], 'content', ARGV[3], 'done', 0, 'failed', 0, 'notice', ARGV[4],
  'client', ARGV[5], 'total', ARGV[6], 'bytes', ARGV[7])
redis.call('ZADD', KEYS[2], ARGV[2], ARGV[1])
redis.call('ZADD', KEYS[3], ARGV[8], ARGV[1])
return {}
"""
# KEYS: job, pictures, erasures. ARGV: id, group. Pictures may be taken once there is a group. Run twice, as once.
PLAN = """
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.pcall('XGROUP', 'CREATE', KEYS[2], ARGV[2], '0')
redis.call('PERSIST', KEYS[2])
redis.call('ZREM', KEYS[3], ARGV[1])
return 1
"""
# KEYS: job, pictures, parts. ARGV: group, name of the part, total, bytes, then number and failed (0 or 1) of each.
COMMIT = """
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
if redis.call('HEXISTS', KEYS[3], ARGV[2]) == 1 then return 1 end
local time = redis.call('TIME')
local now = string.format('%.3f', time[1] + time[2] / 1e6)
local done, failed, superseded = 0, 0, {}
for i = 5, #ARGV, 2 do
  local entry = '0-' .. (ARGV[i] + 1)
  if redis.call('XACK', KEYS[2], ARGV[1], entry) == 1 then
    redis.call('XDEL', KEYS[2], entry)
    if ARGV[i + 1] == '1' then failed = failed + 1 else done = done + 1 end
  else
    superseded[#superseded + 1] = ARGV[i]
  end
end
local place = redis.call('HLEN', KEYS[3])
local part = place .. ' ' .. now .. ' ' .. done .. ' ' .. failed .. ' ' .. table.concat(superseded, ',')
redis.call('HSET', KEYS[3], ARGV[2], part)
local settled = redis.call('HINCRBY', KEYS[1], 'done', done) + redis.call('HINCRBY', KEYS[1], 'failed', failed)
redis.call('HINCRBY', KEYS[1], 'bytes', ARGV[4])
redis.call('HDEL', KEYS[1], 'detail')
if settled == tonumber(ARGV[3]) then redis.call('HSET', KEYS[1], 'ended', now) end
return 1
"""
# Takes entries of a holder that is gone. KEYS: pictures, key of that holder. ARGV: group, holder, count, that holder.
CLAIM = """
if redis.call('EXISTS', KEYS[2]) == 1 then return {} end
local pending = redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', ARGV[3], ARGV[4])
if #pending == 0 then
  redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[4])
  return {}
end
local ids = {}
for i, entry in ipairs(pending) do ids[i] = entry[1] end
return redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, unpack(ids))
"""
# KEYS: job, key of the holder that has the notice. ARGV: holder. Takes the notice unless another holder lives.
TAKE_NOTICE = """
local held = redis.call('HMGET', KEYS[1], 'ended', 'notice', 'notifier')
if not held[1] or held[2] ~= 'due' then return 0 end
if held[3] and held[3] ~= ARGV[1] and redis.call('EXISTS', KEYS[2] .. held[3]) == 1 then return 0 end
redis.call('HSET', KEYS[1], 'notifier', ARGV[1])
return 1
"""
# KEYS: job. ARGV: field, value ("": remove it). Of a job that is gone nothing is written.
SET = """
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
if ARGV[2] == '' then return redis.call('HDEL', KEYS[1], ARGV[1]) end
return redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
"""


class RedisStore:
    """As `Store`."""

    def __init__(self, link: RedisLink, clock: Callable[[], float] = time.time) -> None:
        self._link = link
        self._clock = clock

    def add(self, job: Job, n_bytes: int, limits: Amounts) -> Amounts | None:
        """As `Store.add`."""
        notice: Notice = "none" if job.webhook is None else "due"
        values = (job.id, job.created, to_json(job), notice, job.client, job.total, n_bytes)
        until = self._clock() + ADDING_SECONDS
        keys = (_job(job.id), INDEX, ERASURES)
        held: Any = self._ask(lambda client: client.eval(ADD, 3, *keys, *values, until, *limits))
        return Amounts(*held) if held else None

    def plan(self, identity: str, pictures: Sequence[Picture]) -> bool:
        """As `Store.plan`."""
        key = _pictures(identity)
        for start in range(0, len(pictures), ENTRIES_PER_CALL):
            some = pictures[start : start + ENTRIES_PER_CALL]
            self._ask(partial(_add_entries, key=key, pictures=some))
        keys = (_job(identity), key, ERASURES)
        return bool(self._ask(lambda client: client.eval(PLAN, 3, *keys, identity, GROUP)))

    def jobs(self) -> list[Job]:
        """As `Store.jobs`."""
        found = (self.job(identity) for identity in self._ids())
        return [job for job in found if job is not None]

    def job(self, identity: str) -> Job | None:
        """As `Store.job`."""
        content = self._ask(lambda client: cast("bytes | None", client.hget(_job(identity), "content")))
        return None if content is None else from_json(content)

    def open_jobs(self) -> list[OpenJob]:
        """As `Store.open_jobs`."""
        index: Any = self._ask(lambda client: client.zrange(INDEX, 0, -1, withscores=True))
        created = {identity.decode(): time for identity, time in index}
        names = ("ended", "started", "done", "failed", "total", "client")
        found = self._ask(lambda client: _fields(client, tuple(created), *names))
        return [
            self._open_job(identity, created[identity], *standing)
            for identity, (ended, *standing) in zip(created, found, strict=True)
            if ended is None and standing[1] is not None
        ]

    def _open_job(self, identity: str, created: float, started: bytes | None, *standing: bytes | None) -> OpenJob:
        done, failed, total, client = standing
        if total is None or client is None:  # added by 0.3, which kept both in its content alone
            job = self.job(identity)
            total, client = (b"0", b"") if job is None else (b"%d" % job.total, job.client.encode())
        left = int(total) - int(done or 0) - int(failed or 0)
        return OpenJob(identity, client.decode(), left, created, started is not None)

    def progress(self, identity: str) -> Progress | None:
        """As `Store.progress`."""
        names = ("done", "failed", "started", "ended", "detail", "notice")
        values = self._ask(lambda client: cast("list[bytes | None]", client.hmget(_job(identity), names)))
        if values[0] is None:
            return None
        done, failed, started, ended, detail, notice = (None if each is None else each.decode() for each in values)
        times = None if started is None else float(started), None if ended is None else float(ended)
        rate = self._rate(identity, *times, int(done or 0) + int(failed or 0))
        return Progress(int(done or 0), int(failed or 0), *times, rate, detail, cast("Notice", notice))

    def _rate(self, identity: str, started: float | None, ended: float | None, settled: int) -> float:
        if started is None:
            return 0.0
        if ended is not None:
            return rate_of(settled, ended - started)
        now = self._clock()
        since = measured_since(started, now)
        return rate_of(sum(part.done + part.failed for part in self.parts(identity) if part.at >= since), now - since)

    def beat(self, holders: Sequence[str], seconds: float) -> None:
        """As `Store.beat`."""
        if holders:
            self._ask(lambda client: _beat(client, holders, max(1, round(1000 * seconds))))

    def leave(self, holder: str) -> None:
        """As `Store.leave`."""
        self._ask(lambda client: client.delete(_holder(holder)))

    def take(self, identity: str, holder: str, count: int) -> list[Picture]:
        """As `Store.take`."""
        taken = self._ask(lambda client: _take(client, _pictures(identity), holder, count))
        if taken:
            now = self._clock()
            self._ask(lambda client: client.hsetnx(_job(identity), "started", str(now)))
        return [Picture(int(entry[b"number"]), entry[b"name"].decode(), entry[b"place"].decode()) for entry in taken]

    def commit(self, identity: str, name: str, answered: Mapping[int, bool], n_bytes: int) -> bool:
        """As `Store.commit`."""
        job = self.job(identity)
        if job is None:
            return False
        pairs = [value for number, failed in answered.items() for value in (number, int(failed))]
        keys = (_job(identity), _pictures(identity), _parts(identity))
        return bool(self._ask(lambda client: client.eval(COMMIT, 3, *keys, GROUP, name, job.total, n_bytes, *pairs)))

    def parts(self, identity: str, after: int = 0) -> list[Part]:
        """As `Store.parts`."""
        written = self._ask(lambda client: cast("dict[bytes, bytes]", client.hgetall(_parts(identity))))
        placed = sorted(_part(name, content) for name, content in written.items())
        return [part for _, part in placed[after:]]

    def note(self, identity: str, detail: str | None) -> None:
        """As `Store.note`."""
        self._set(identity, "detail", detail or "")

    def due_notices(self, holder: str) -> list[str]:
        """As `Store.due_notices`."""
        identities = self._ids()
        notices = self._ask(lambda client: _fields(client, identities, "notice"))
        due = [identity for identity, (notice,) in zip(identities, notices, strict=True) if notice == b"due"]
        return [identity for identity in due if self._take_notice(identity, holder)]

    def _take_notice(self, identity: str, holder: str) -> bool:
        keys = (_job(identity), _holder(""))
        return bool(self._ask(lambda client: client.eval(TAKE_NOTICE, 2, *keys, holder)))

    def noticed(self, identity: str, notice: Notice) -> None:
        """As `Store.noticed`."""
        self._set(identity, "notice", notice)

    def erase(self, identities: Sequence[str]) -> None:
        """As `Store.erase`."""
        if identities:
            self._ask(lambda client: _erase(client, identities, self._clock()))

    def erasures(self) -> Mapping[str, float]:
        """As `Store.erasures`."""
        recorded: Any = self._ask(lambda client: client.zrange(ERASURES, 0, -1, withscores=True))
        return {identity.decode(): since for identity, since in recorded}

    def erased(self, identity: str) -> None:
        """As `Store.erased`."""
        self._ask(lambda client: client.zrem(ERASURES, identity))

    def close(self) -> None:
        """As `Store.close`."""
        self._link.close()

    def _ids(self) -> list[str]:
        return [each.decode() for each in self._ask(lambda client: cast("list[bytes]", client.zrange(INDEX, 0, -1)))]

    def _set(self, identity: str, field: str, value: str) -> None:
        self._ask(lambda client: client.eval(SET, 1, _job(identity), field, value))

    def _ask(self, call: Callable[[redis.Redis], T]) -> T:
        try:
            return self._link.ask(call)
        except RedisAway as error:
            raise StoreAway("Redis does not answer") from error


def _add_entries(client: redis.Redis, key: str, pictures: Sequence[Picture]) -> None:
    """Add pictures to a stream; those that a lost connection had added before are left."""
    last = _last_number(client, key)
    with client.pipeline(transaction=True) as pipe:
        for picture in pictures:
            if picture.number > last:
                fields: Any = {"number": picture.number, "name": picture.name, "place": picture.place}
                pipe.xadd(key, fields, id=f"0-{picture.number + 1}")
        pipe.expire(key, int(ADDING_SECONDS))
        pipe.execute()


def _last_number(client: redis.Redis, key: str) -> int:
    last = cast("list[Any]", client.xrevrange(key, count=1))
    return int(last[0][1][b"number"]) if last else -1


def _take(client: redis.Redis, key: str, holder: str, count: int) -> list[dict[bytes, bytes]]:
    """Entries that the holder has already, else new ones, else those of holders that are gone."""
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
    for consumer in client.xinfo_consumers(key, GROUP):
        other = consumer["name"].decode()
        if other == holder:
            continue
        claimed: Any = client.eval(CLAIM, 2, key, _holder(other), GROUP, holder, count, other)
        if claimed:
            return [dict(zip(flat[::2], flat[1::2], strict=True)) for _, flat in claimed]
    return []


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
    with client.pipeline(transaction=True) as pipe:
        pipe.zadd(ERASURES, dict.fromkeys(identities, now))
        pipe.zrem(INDEX, *identities)
        for identity in identities:
            pipe.delete(_job(identity), _pictures(identity), _parts(identity))
        pipe.execute()


def _part(name: bytes, content: bytes) -> tuple[int, Part]:
    """The place and the part of what `COMMIT` has written."""
    place, at, done, failed, superseded = content.decode().split(" ")
    numbers = [int(number) for number in superseded.split(",") if number]
    return int(place), Part(name.decode(), int(done), int(failed), numbers, float(at))


def _job(identity: str) -> str:
    return f"lexiseg:job:{{{identity}}}"


def _pictures(identity: str) -> str:
    return f"{_job(identity)}:pictures"


def _parts(identity: str) -> str:
    return f"{_job(identity)}:parts"


def _holder(holder: str) -> str:
    return f"lexiseg:job-holder:{holder}"
