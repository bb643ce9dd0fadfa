"""Ask the pictures of jobs in the background, in some lanes of one gateway.

    turn -> lane: take a few pictures -> read, ask, one after another -> file of lines -> commit -> next turn

The number of lanes bounds the pictures in flight. A lane waits while the workers are not ready, and asks again about
a picture that is refused for now. Lines that cannot be written are kept and written again.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, NamedTuple, TypeVar

import orjson
import structlog

from lexiseg_service.batch.executors.gateway import GatewayExecutor
from lexiseg_service.batch.executors.picture_runner import Fetch, PictureRunner, pause
from lexiseg_service.batch.files import Files
from lexiseg_service.batch.lane import Line, Preempted, work
from lexiseg_service.batch.ledger.job import Job, Ledger, OpenJob
from lexiseg_service.batch.sources.source import Picture, SourceKind
from lexiseg_service.batch.turns import LANES, Turns
from lexiseg_service.errors import RateLimited
from lexiseg_service.gateway.admission.limits import ClientLimits
from lexiseg_service.gateway.use_case import UseCase
from lexiseg_service.records.store import StoreAway
from lexiseg_service.settings import Settings
from lexiseg_service.shares import Hold
from lexiseg_service.watch.metrics import Metrics

logger = structlog.get_logger("lexiseg.jobs")
T = TypeVar("T")
MAX_TAKEN = 64  # pictures that a lane holds
TURN = 8  # pictures after which a lane gives way to a client that has none
FLUSH_SECONDS = 2.0  # after which a lane writes what it has
MAX_PART_BYTES = 16 * 2**20  # likewise; one answer may be as large again
LEASE_SECONDS = 5.0  # that a lane may be silent before others take its pictures
BEATS = 4  # in a lease
POLL_SECONDS = 1.0  # between looks for jobs of other gateways, and for what was left


class _Assignment(NamedTuple):
    """Pictures that a lane took from one job."""

    job: Job
    pictures: Sequence[Picture]


class _JobPart:
    """As `Part`: JSON lines of one job, written again until they can be."""

    def __init__(self, write: Callable[[Job, list[bytes], dict[int, bool]], Awaitable[bool]], job: Job) -> None:
        self._write = write
        self._job = job
        self._lines: list[bytes] = []
        self._outcomes: dict[int, bool] = {}  # number, whether it failed
        self._since = 0.0  # of the first line

    def add(self, picture: Picture, line: Line) -> None:
        self._since = self._since if self._lines else time.monotonic()
        self._lines.append(orjson.dumps(line) + b"\n")
        self._outcomes[picture.number] = line["problem"] is not None

    @property
    def is_due(self) -> bool:
        late = time.monotonic() - self._since > FLUSH_SECONDS
        return not self.is_empty and (late or sum(map(len, self._lines)) > MAX_PART_BYTES)

    @property
    def is_empty(self) -> bool:
        return not self._lines

    async def commit(self) -> bool:
        """As `Part.commit`; False: the job is gone."""
        is_wanted = await self._write(self._job, self._lines, self._outcomes)
        self._lines, self._outcomes = [], {}
        return is_wanted


class Runner:
    """The lanes of one gateway."""

    def __init__(
        self,
        ledger: Ledger,
        files: Files,
        use_case: UseCase,
        limits: ClientLimits,
        settings: Settings,
        metrics: Metrics,
    ) -> None:
        self._ledger = ledger
        self._files = files
        self._metrics = metrics
        self._tasks: list[asyncio.Task[None]] = []
        self._lanes: set[asyncio.Task[None]] = set()
        self._threads = ThreadPoolExecutor(LANES, "jobs")  # apart from the threads of interactive requests
        self._holders: set[str] = set()  # one for each lane
        self._idle: list[str] = []  # holders that hold nothing
        self._turns = Turns()
        self._wake = asyncio.Event()
        self._stopping = False
        self._details: dict[str, str] = {}  # what holds jobs up here, by job: a full disk takes no note of it
        self._away: str | None = None  # what holds all of them up
        self.open: Sequence[OpenJob] = ()  # as of the last look
        self._executor = GatewayExecutor(use_case, limits, files)
        self._picture_runner = PictureRunner(self._executor, self._threads, settings.limits.max_image_bytes)

    def fetch_by(self, kind: SourceKind, fetch: Fetch) -> None:
        """Have the pictures of a kind of source fetched by a function."""
        self._picture_runner.fetch_by(kind, fetch)

    def start(self) -> None:
        """Begin."""
        self._tasks = [asyncio.create_task(self._renew_leases()), asyncio.create_task(self._give_turns())]

    @contextmanager
    def holding(self, holder: str) -> Iterator[None]:
        """Renew the lease of another holder, too, while the block runs."""
        self._holders.add(holder)
        try:
            yield
        finally:
            self._holders.discard(holder)

    def detail(self, identity: str) -> str | None:
        """What holds a job up at this gateway."""
        return self._details.get(identity, self._away)

    @property
    def held_up(self) -> int:
        """Jobs that this gateway cannot go on with."""
        return len(self._details) if self._away is None else len(self.open)

    def wake(self) -> None:
        """Look for work at once."""
        self._wake.set()

    async def close(self, seconds: float) -> None:
        """End the lanes after their current pictures, at the latest after `seconds`; others take the rest at once."""
        self._stopping = True
        self.wake()
        renewing, giving = self._tasks
        until = time.monotonic() + seconds
        await asyncio.wait([giving], timeout=seconds)
        if self._lanes:
            await asyncio.wait(self._lanes, timeout=max(0.0, until - time.monotonic()))
        late = [renewing, giving, *self._lanes]
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _renew_leases(self) -> None:
        """Renew the leases, and wake the lanes while there is a job with pictures left."""
        last = 0.0
        while True:
            with suppress(StoreAway):
                if time.monotonic() - last >= LEASE_SECONDS / BEATS:
                    last = time.monotonic()
                    await self._in_thread(self._ledger.renew_leases, tuple(self._holders), LEASE_SECONDS)
                self.open = await self._in_thread(self._ledger.open_jobs)
                if self.open:
                    self.wake()
            await asyncio.sleep(POLL_SECONDS)

    async def _give_turns(self) -> None:
        """Open lanes for the jobs that are next, whenever that may have changed."""
        while not self._stopping:
            self._wake.clear()
            try:
                self.open = await self._in_thread(self._ledger.open_jobs)
                self._turns.look(self.open)
                self._picture_runner.close_all_but(jobs := {job.id for job in self.open})
                self._executor.forget_all_but(jobs)
                while not self._stopping and (turn := self._turns.next()) is not None:
                    await self._give(*turn)
                self._away = None
            except StoreAway as error:
                self._away = f"jobs cannot be read or written now: {error}"
                logger.warning("jobs cannot be read or written", error=str(error))
            except Exception as error:
                logger.error("unexpected error", error=type(error).__name__, exc_info=error)
                await asyncio.sleep(POLL_SECONDS)
                self.wake()
            await self._wake.wait()

    async def _give(self, identity: str, left: int, lane: Hold) -> None:
        """Open a lane for some pictures of a job, if there are free ones."""
        holder = self._idle.pop() if self._idle else uuid.uuid4().hex
        assignment = None
        try:
            if holder not in self._holders:
                self._holders.add(holder)
                await self._in_thread(self._ledger.renew_leases, (holder,), LEASE_SECONDS)
            count = min(MAX_TAKEN, max(1, left // LANES))  # few at the end, so that all lanes end together
            assignment = await self._in_thread(self._take, identity, holder, count)
            if assignment is None:
                self._idle.append(holder)
        except Exception as error:
            self._holders.discard(holder)  # it may hold pictures, until its lease ends
            if isinstance(error, StoreAway):
                raise
            logger.error("unexpected error", job=identity, error=type(error).__name__, exc_info=error)
        finally:
            self._turns.record_assignment(identity, 0 if assignment is None else len(assignment.pictures))
            if assignment is None:
                lane.release()
        if assignment is not None:
            task = asyncio.create_task(self._run_lane(assignment, holder, lane))
            self._lanes.add(task)
            task.add_done_callback(self._lanes.discard)

    def _take(self, identity: str, holder: str, count: int) -> _Assignment | None:
        job = self._ledger.job(identity)
        pictures = [] if job is None else self._ledger.take(identity, holder, count)
        return _Assignment(job, pictures) if job is not None and pictures else None

    async def _run_lane(self, assignment: _Assignment, holder: str, lane: Hold) -> None:
        is_done = False
        try:
            is_done = await self._work(assignment)
        except StoreAway as error:
            logger.warning("jobs cannot be read or written", error=str(error))
        except Exception as error:
            logger.error("unexpected error", error=type(error).__name__, exc_info=error)
        finally:
            if is_done:
                self._idle.append(holder)
            else:
                self._holders.discard(holder)
                with suppress(StoreAway):  # its pictures are free at once; else when the lease ends
                    await self._in_thread(self._ledger.release_lease, holder)
            lane.release()
            self.wake()

    def _in_thread(self, work: Callable[..., T], *arguments: Any) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(self._threads, partial(work, *arguments))

    async def _work(self, assignment: _Assignment) -> bool:
        """Ask about pictures; returns whether none of them is held any more."""
        job = assignment.job

        async def ask(picture: Picture) -> Line:
            try:
                return await self._picture_runner.line(job, picture, lambda: self._turns.is_crowded)
            except RateLimited as error:
                self._turns.pause(job.client, float(error.headers["Retry-After"]))
                raise Preempted from None

        def ends(n_begun: int) -> bool:
            return self._stopping or (n_begun >= TURN and self._turns.is_crowded)

        return await work(assignment.pictures, ask, _JobPart(self._write, job), ends=ends)

    async def _write(self, job: Job, lines: list[bytes], outcomes: Mapping[int, bool]) -> bool:
        """Write a file of lines and commit it, at some time; False: the job is gone."""
        name, content = uuid.uuid4().hex, b"".join(lines)
        if not await self._write_until_stored(job.id, partial(self._put, job.id, name, content, outcomes)):
            with suppress(Exception):  # the erasure is recorded, and repeated
                await self._in_thread(self._files.remove, job.id)
            return False
        failed = sum(outcomes.values())
        self._metrics.job_pictures.labels("failed").inc(failed)
        self._metrics.job_pictures.labels("ok").inc(len(outcomes) - failed)
        return True

    def _put(self, identity: str, name: str, content: bytes, outcomes: Mapping[int, bool]) -> bool:
        self._files.write(part_path(identity, name), content)
        return self._ledger.commit(identity, name, outcomes, len(content))

    async def _write_until_stored(self, identity: str, put: Callable[[], bool]) -> bool:
        """Put a part until it succeeds, while the job says what holds it up; False: the job is gone."""
        attempt = 0
        while True:
            try:
                outcome = await self._in_thread(put)
                self._details.pop(identity, None)
                return outcome
            except Exception as error:  # of the disk, the ledger, or the library of one
                logger.warning("results cannot be written", job=identity, error=str(error))
                reason = getattr(error, "strerror", None) or str(error)
            self._details[identity] = detail = f"results cannot be written now: {reason}"
            with suppress(StoreAway):
                if await self._in_thread(self._ledger.job, identity) is None:
                    self._details.pop(identity, None)
                    return False
                await self._in_thread(self._ledger.record_detail, identity, detail)  # for other gateways
            await pause(attempt)
            attempt += 1


def part_path(identity: str, name: str) -> str:
    """The place of a part among the files of jobs."""
    return f"{identity}/parts/{name}.jsonl"
