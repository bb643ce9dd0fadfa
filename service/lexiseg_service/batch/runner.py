"""Ask the pictures of jobs in the background, in some lanes of one gateway.

    turn -> lane: take a few pictures -> read, ask, one after another -> file of lines -> commit -> next turn

The number of lanes bounds the pictures in flight. A lane waits while the workers are not ready, and asks again about
a picture that is refused for now. Lines that cannot be written are kept and written again.

Lanes go by client, then by job. A client holds at most half of the lanes that others leave, so that a lane is free for
one that comes, however many jobs the others have. Of the clients that may have one more, the fair queue names the one
that was given the fewest pictures so far, and of its jobs the one likewise. One at its rate or quota gives way.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import orjson
import structlog

from lexiseg_model.resources.lru import Lru
from lexiseg_service.batch import question_copy
from lexiseg_service.batch.files import Files, question_path
from lexiseg_service.batch.ledger.job import UNENDED, Job, Ledger, Line, Progress
from lexiseg_service.batch.loop import PictureRunner, Preempted, pause, work
from lexiseg_service.batch.question_copy import QuestionCopy
from lexiseg_service.batch.sources.source import Picture
from lexiseg_service.errors import QueueFull, RateLimited
from lexiseg_service.fair_queue import FairQueue, Sender
from lexiseg_service.gateway.admission.access import Caller
from lexiseg_service.gateway.admission.limits import ClientLimits
from lexiseg_service.gateway.use_case import UseCase
from lexiseg_service.question.messages import ImageSource, WorkerAnswer
from lexiseg_service.records.store import StoreAway
from lexiseg_service.retries import for_ever
from lexiseg_service.settings import Settings
from lexiseg_service.shares import CLIENT_SHARE, Hold, Shares
from lexiseg_service.watch.metrics import Metrics

logger = structlog.get_logger("lexiseg.jobs")
LANES = 16  # pictures of jobs that a gateway has in flight; a client without others has half of them
MAX_PAUSE_SECONDS = 30.0  # of a client at its rate or quota
ASK_SECONDS = 600.0  # for one picture, of which nobody waits for the answer
MAX_QUESTIONS = 16  # in memory
MAX_TAKEN = 64  # pictures that a lane holds
TURN = 8  # pictures after which a lane gives way to a client that has none
FLUSH_SECONDS = 2.0  # after which a lane writes what it has
MAX_PART_BYTES = 16 * 2**20  # likewise; one answer may be as large again
LEASE_SECONDS = 5.0  # that a lane may be silent before others take its pictures
BEATS = 4  # in a lease
POLL_SECONDS = 1.0  # between looks for jobs of other gateways, and for what was left


class GatewayExecutor:
    """As `Executor`, over the operations of a gateway."""

    def __init__(self, use_case: UseCase, limits: ClientLimits, files: Files) -> None:
        self._use_case = use_case
        self._limits = limits
        self._files = files
        self.questions: Lru[str, QuestionCopy] = Lru(MAX_QUESTIONS)

    @property
    def is_ready(self) -> bool:
        return self._use_case.health().ready

    @property
    def gives_way(self) -> bool:
        return self._use_case.in_flight > 0

    async def admit(self, job: Job) -> None:
        await self._limits.count(job.client)

    async def segment(self, job: Job, image: ImageSource, identity: str) -> WorkerAnswer:
        caller = Caller(owner=job.owner, client=job.client, request_id=identity, background=True)
        if (question := self.questions.get(job.id)) is None:
            content = await asyncio.to_thread(self._files.read, question_path(job.id))
            question = question_copy.decode(content)
            self.questions.put(job.id, question)
        return await question_copy.ask(self._use_case, question, image, caller, ASK_SECONDS)


class Turns:
    """The lanes of one gateway, and the jobs that wait for one. Not thread-safe."""

    def __init__(self) -> None:
        self._lanes = Shares("lanes", LANES, CLIENT_SHARE)
        self._jobs: FairQueue[str] = FairQueue()
        self._left: dict[str, int] = {}  # pictures without an answer, by job
        self._paused: dict[str, float] = {}  # clients at their rate or quota, until a monotonic time
        self._empty: set[str] = set()  # jobs with all pictures held, when last looked at
        self.is_crowded = False  # a client has no lane while others hold all

    def look(self, jobs: Mapping[str, Progress]) -> None:
        """Take note of the jobs that have pictures without an answer."""
        self._empty.clear()
        now = time.monotonic()
        self._paused = {client: until for client, until in self._paused.items() if until > now}
        self._left = {identity: job.left for identity, job in jobs.items()}
        for ended in [identity for identity in self._jobs if identity not in self._left]:
            self._jobs.drop(ended)
        for identity, job in jobs.items():
            if identity not in self._jobs:
                self._jobs.add(identity, Sender(job.client, identity))

    def next(self) -> tuple[str, int, Hold] | None:
        """The job that is next, its pictures without an answer, and the lane, which the caller releases."""
        self.is_crowded = False
        served: set[str] = set()  # clients that have their share of the lanes

        def may(identity: str) -> bool:
            client = self._jobs.sender_of(identity).client
            return identity not in self._empty and client not in served and client not in self._paused

        while (identity := self._jobs.next(may)) is not None:
            client = self._jobs.sender_of(identity).client
            try:
                return identity, self._left[identity], self._lanes.take(client)
            except RateLimited:
                served.add(client)
            except QueueFull:
                self.is_crowded = True
                break
        return None

    def pause(self, client: str, seconds: float) -> None:
        self._paused[client] = time.monotonic() + min(seconds, MAX_PAUSE_SECONDS)

    def record_assignment(self, identity: str, count: int) -> None:
        """Count the pictures that a lane was given; none: the job has no free ones until the next look."""
        if not count:
            self._empty.add(identity)
        elif identity in self._jobs:
            self._jobs.serve(identity, count)


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
        self.holders: set[str] = set()  # with leases to renew: one for each lane, and that of the notices
        self._idle: list[str] = []  # holders that hold nothing
        self._turns = Turns()
        self._wake = asyncio.Event()
        self._stopping = False
        self._details: dict[str, str] = {}  # what holds jobs up here, by job: a full disk takes no note of it
        self._away: str | None = None  # what holds all of them up
        self.open: Mapping[str, Progress] = {}  # jobs with pictures without an answer, as of the last look
        self._executor = GatewayExecutor(use_case, limits, files)
        self.pictures = PictureRunner(self._executor, self._threads, settings.limits.max_image_bytes)
        self._in_thread = self.pictures.in_thread

    def start(self) -> None:
        renewing = for_ever(self._renew_leases, LEASE_SECONDS / BEATS)
        self._tasks = [asyncio.create_task(renewing), asyncio.create_task(self._give_turns())]

    def detail(self, identity: str) -> str | None:
        return self._details.get(identity, self._away)

    @property
    def held_up(self) -> int:
        """Jobs that this gateway cannot go on with."""
        return len(self._details) if self._away is None else len(self.open)

    def wake(self) -> None:
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
        with suppress(StoreAway):
            await self._in_thread(self._ledger.renew_leases, tuple(self.holders), LEASE_SECONDS)

    async def _give_turns(self) -> None:
        """Open lanes for the jobs that are next, whenever that may have changed, and now and then."""
        while not self._stopping:
            self._wake.clear()
            try:
                self.open = await self._in_thread(self._ledger.all_progress, UNENDED)
                self._turns.look(self.open)
                # Others may have been erased: their questions are forgotten, and their archives take no room.
                kept: Lru[str, Any]
                for kept in (self._executor.questions, self.pictures.readers):
                    for identity in {identity for identity, _ in kept.items()} - self.open.keys():
                        kept.drop(identity)
                while not self._stopping and (turn := self._turns.next()) is not None:
                    await self._give(*turn)
                self._away = None
            except StoreAway as error:
                if self._away is None:
                    logger.warning("jobs cannot be read or written", error=str(error))
                self._away = f"jobs cannot be read or written now: {error}"
            except Exception as error:
                logger.error("unexpected error", error=type(error).__name__, exc_info=error)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), POLL_SECONDS)

    async def _give(self, identity: str, left: int, lane: Hold) -> None:
        """Open a lane for some pictures of a job, if there are free ones."""
        holder, job = self._idle.pop() if self._idle else uuid.uuid4().hex, None
        pictures: Sequence[Picture] = ()
        try:
            if holder not in self.holders:
                self.holders.add(holder)
                await self._in_thread(self._ledger.renew_leases, (holder,), LEASE_SECONDS)
            count = min(MAX_TAKEN, max(1, left // LANES))  # few at the end, so that all lanes end together
            job = await self._in_thread(self._ledger.job, identity)
            if job is not None:
                pictures = await self._in_thread(self._ledger.take, identity, holder, count)
            if not pictures:
                self._idle.append(holder)
        except Exception as error:
            self.holders.discard(holder)  # it may hold pictures, until its lease ends
            if isinstance(error, StoreAway):
                raise
            logger.error("unexpected error", job=identity, error=type(error).__name__, exc_info=error)
        finally:
            self._turns.record_assignment(identity, len(pictures))
            if not pictures:
                lane.release()
        if job is not None and pictures:
            task = asyncio.create_task(self._run_lane(job, pictures, holder, lane))
            self._lanes.add(task)
            task.add_done_callback(self._lanes.discard)

    async def _run_lane(self, job: Job, pictures: Sequence[Picture], holder: str, lane: Hold) -> None:
        is_done = False
        try:
            is_done = await self._work(job, pictures)
        except StoreAway as error:
            logger.warning("jobs cannot be read or written", error=str(error))
        except Exception as error:
            logger.error("unexpected error", error=type(error).__name__, exc_info=error)
        finally:
            if is_done:
                self._idle.append(holder)
            else:
                self.holders.discard(holder)
                with suppress(StoreAway):  # its pictures are free at once; else when the lease ends
                    await self._in_thread(self._ledger.release_lease, holder)
            lane.release()
            self.wake()

    async def _work(self, job: Job, pictures: Sequence[Picture]) -> bool:
        """Ask about pictures; returns whether none of them is held any more."""

        async def ask(picture: Picture) -> Line:
            try:
                return await self.pictures.line(job, picture, lambda: self._turns.is_crowded)
            except RateLimited as error:
                self._turns.pause(job.client, float(error.headers["Retry-After"]))
                raise Preempted from None

        def ends(n_begun: int) -> bool:
            return self._stopping or (n_begun >= TURN and self._turns.is_crowded)

        return await work(pictures, ask, _JobPart(self._write, job), ends=ends)

    async def _write(self, job: Job, lines: list[bytes], outcomes: Mapping[int, bool]) -> bool:
        """Write a file of lines and commit it, at some time; False: the job is gone."""
        name, content = uuid.uuid4().hex, b"".join(lines)

        def put() -> bool:
            self._files.write(part_path(job.id, name), content)
            return self._ledger.commit(job.id, name, outcomes, len(content))

        if not await self._write_until_stored(job.id, put):
            with suppress(Exception):  # the erasure is recorded, and repeated
                await self._in_thread(self._files.remove, job.id)
            return False
        failed = sum(outcomes.values())
        self._metrics.job_pictures.labels("failed").inc(failed)
        self._metrics.job_pictures.labels("ok").inc(len(outcomes) - failed)
        return True

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
                await self._in_thread(self._ledger.update, identity, {"detail": detail})  # for other gateways
            await pause(attempt)
            attempt += 1


def part_path(identity: str, name: str) -> str:
    return f"{identity}/parts/{name}.jsonl"
