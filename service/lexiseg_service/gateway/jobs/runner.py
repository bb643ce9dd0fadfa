"""Ask the pictures of jobs in the background, in some lanes of one gateway.

    lane: take a few pictures -> read, ask, one after another -> file of lines -> commit -> take the next

The number of lanes bounds the pictures in flight. A lane waits while the workers are not ready, and asks again about
a picture that is refused for now. Lines that cannot be written are kept and written again.
"""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

import orjson
import structlog

from lexiseg_model.lru import Lru
from lexiseg_service.errors import DeadlineExceeded, NotReady, ServiceError, SwitchedOff, Temporary, unexpected
from lexiseg_service.gateway.admission.access import Caller
from lexiseg_service.gateway.admission.limits import ClientLimits
from lexiseg_service.gateway.jobs.files import Files
from lexiseg_service.gateway.jobs.job import Job, Picture, SourceKind, Store, StoreAway
from lexiseg_service.gateway.jobs.sources import READ, Reader, reader_of
from lexiseg_service.gateway.render import content_of
from lexiseg_service.gateway.use_case import UseCase
from lexiseg_service.question.messages import ImageSource
from lexiseg_service.question.schemas import Question
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics

logger = structlog.get_logger("lexiseg.jobs")
T = TypeVar("T")
Fetch = Callable[[str, str], Awaitable[ImageSource]]  # of a picture, by its place, for a client
LANES = 8  # pictures of jobs that a gateway has in flight
LANES_BESIDE = 1  # while it has other requests in flight: workers serve those first, but share the cores
LOOK_SECONDS = 0.02  # between looks whether they are over
MAX_TAKEN = 64  # pictures that a lane holds
FLUSH_SECONDS = 2.0  # after which a lane writes what it has
MAX_PART_BYTES = 16 * 2**20  # likewise; one answer may be as large again
LEASE_SECONDS = 5.0  # that a lane may be silent before others take its pictures
BEATS = 4  # in a lease
POLL_SECONDS = 1.0  # between looks for jobs of other gateways, and for what was left
ASK_SECONDS = 600.0  # for one picture, of which nobody waits for the answer
MAX_PAUSE = 30.0  # seconds, between attempts
MAX_ATTEMPTS = 5  # for faults that may lie in the picture
MAX_READERS = 16  # open archives, and questions in memory


@dataclass
class _Batch:
    """Pictures that a lane took from one job, and the lines of those that are answered."""

    job: Job
    pictures: list[Picture]
    lines: list[bytes] = field(default_factory=list)
    answered: dict[int, bool] = field(default_factory=dict)  # number, whether it failed
    since: float = 0.0  # of the first line

    @property
    def is_due(self) -> bool:
        """Whether the lines are to be written."""
        late = time.monotonic() - self.since > FLUSH_SECONDS
        return bool(self.lines) and (late or sum(map(len, self.lines)) > MAX_PART_BYTES)


class Runner:
    """The lanes of one gateway."""

    def __init__(
        self,
        store: Store,
        files: Files,
        use_case: UseCase,
        limits: ClientLimits,
        settings: Settings,
        metrics: Metrics,
    ) -> None:
        self._store = store
        self._files = files
        self._use_case = use_case
        self._limits = limits
        self._settings = settings
        self._metrics = metrics
        self._tasks: list[asyncio.Task[None]] = []
        self._threads = ThreadPoolExecutor(LANES, "jobs")  # apart from those that interactive requests need
        self._holders: set[str] = set()  # one for each lane
        self._wake = asyncio.Event()
        self._stopping = False
        self._lanes = Counter[str]()  # by job
        self._asking = 0  # pictures in flight
        self._readers: Lru[str, Reader] = Lru(MAX_READERS)
        self._questions: Lru[str, Question] = Lru(MAX_READERS)
        self._reading = asyncio.Lock()
        self._fetches: dict[SourceKind, Fetch] = {"urls": _by_url}

    def fetch_by(self, kind: SourceKind, fetch: Fetch) -> None:
        """Have the pictures of a kind of source fetched by a function."""
        self._fetches[kind] = fetch

    def start(self) -> None:
        """Begin."""
        self._tasks = [asyncio.create_task(self._beat())]
        self._tasks += [asyncio.create_task(self._run_lane()) for _ in range(LANES)]

    @contextmanager
    def holding(self, holder: str) -> Iterator[None]:
        """Renew the lease of another holder, too, while the block runs."""
        self._holders.add(holder)
        try:
            yield
        finally:
            self._holders.discard(holder)

    def wake(self) -> None:
        """Look for work at once."""
        self._wake.set()

    async def close(self, seconds: float) -> None:
        """End the lanes after their current pictures, at the latest after `seconds`; others take the rest at once."""
        self._stopping = True
        self.wake()
        beat, *lanes = self._tasks
        _, late = await asyncio.wait(lanes, timeout=seconds)
        for task in (beat, *late):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _beat(self) -> None:
        """Renew the leases, and wake the lanes while there is a job with pictures left."""
        last = 0.0
        while True:
            with suppress(StoreAway):
                if time.monotonic() - last >= LEASE_SECONDS / BEATS:
                    last = time.monotonic()
                    await self._in_thread(self._store.beat, tuple(self._holders), LEASE_SECONDS)
                if await self._in_thread(self._store.open_jobs):
                    self.wake()
            await asyncio.sleep(POLL_SECONDS)

    async def _run_lane(self) -> None:
        while not self._stopping:
            holder = uuid.uuid4().hex
            self._holders.add(holder)
            try:
                await self._hold(holder)
            except StoreAway as error:
                logger.warning("jobs cannot be read or written", error=str(error))
                await asyncio.sleep(POLL_SECONDS)
            except Exception as error:
                logger.error("unexpected error", error=type(error).__name__, exc_info=error)
                await asyncio.sleep(POLL_SECONDS)
            finally:
                self._holders.discard(holder)
                with suppress(StoreAway):  # its pictures are free at once; else when the lease ends
                    await self._in_thread(self._store.leave, holder)

    async def _hold(self, holder: str) -> None:
        """Work under the lease of `holder`."""
        await self._in_thread(self._store.beat, (holder,), LEASE_SECONDS)
        while not self._stopping:
            batch = await self._take(holder)
            if batch is None:
                await self._rest()
            else:
                await self._work(batch)

    def _in_thread(self, work: Callable[..., T], *arguments: Any) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(self._threads, partial(work, *arguments))

    async def _rest(self) -> None:
        """Wait until there may be work."""
        if not self._stopping:
            self._wake.clear()
            await self._wake.wait()

    async def _take(self, holder: str) -> _Batch | None:
        """Pictures of the job that has the fewest lanes here."""
        for identity in sorted(await self._in_thread(self._store.open_jobs), key=lambda each: self._lanes[each]):
            job = await self._in_thread(self._store.job, identity)
            progress = await self._in_thread(self._store.progress, identity)
            if job is None or progress is None:
                continue
            left = job.total - progress.done - progress.failed
            count = min(MAX_TAKEN, max(1, left // (2 * LANES)))  # few at the end, so that all lanes end together
            if pictures := await self._in_thread(self._store.take, identity, holder, count):
                return _Batch(job, pictures)
        return None

    async def _work(self, batch: _Batch) -> None:
        identity = batch.job.id
        self._lanes[identity] += 1
        try:
            for picture in batch.pictures:
                if self._stopping:
                    break
                line = await self._line(batch.job, picture)
                batch.since = batch.since if batch.lines else time.monotonic()
                batch.lines.append(orjson.dumps(line) + b"\n")
                batch.answered[picture.number] = line["problem"] is not None
                if batch.is_due and not await self._write(batch):
                    return
            if batch.lines and not await self._write(batch):
                return
        finally:
            self._lanes[identity] -= 1
            self._lanes += Counter()  # without those of zero

    async def _write(self, batch: _Batch) -> bool:
        """Write a file of lines and commit it, at some time; False: the job is gone."""
        identity, name = batch.job.id, uuid.uuid4().hex
        path = part_path(identity, name)
        content, answered = b"".join(batch.lines), dict(batch.answered)
        await self._insist(identity, partial(self._files.write, path, content))
        if not await self._insist(identity, partial(self._store.commit, identity, name, answered)):
            with suppress(Exception):
                await self._in_thread(self._files.remove, identity)
            return False
        failed = sum(answered.values())
        self._metrics.job_pictures.labels("failed").inc(failed)
        self._metrics.job_pictures.labels("ok").inc(len(answered) - failed)
        batch.lines.clear()
        batch.answered.clear()
        return True

    async def _insist(self, identity: str, work: Callable[[], T]) -> T:
        """Do it again until it succeeds; the job says what holds it up."""
        attempt = 0
        while True:
            try:
                return await self._in_thread(work)
            except Exception as error:  # of the disk, the store, or the library of one
                logger.warning("results cannot be written", job=identity, error=str(error))
                reason = getattr(error, "strerror", None) or str(error)
                with suppress(StoreAway):
                    detail = f"results cannot be written now: {reason}"
                    await self._in_thread(self._store.note, identity, detail)
                await _pause(attempt)
                attempt += 1

    async def _line(self, job: Job, picture: Picture) -> dict[str, Any]:
        """The line of a picture: its answer, or the problem that it always has."""
        line: dict[str, Any] = {"number": picture.number, "image": picture.name, "answer": None, "problem": None}
        identity = f"{job.id}-{picture.number}"
        attempt = faults = 0
        while True:
            try:
                await self._until_ready()
                await self._limits.count(job.client)
                while self._asking >= LANES_BESIDE and self._use_case.in_flight:
                    await asyncio.sleep(LOOK_SECONDS)
                self._asking += 1
                try:
                    return line | {"answer": await self._answer(job, picture, identity)}
                finally:
                    self._asking -= 1
            except (Temporary, OSError) as error:
                seconds = error.headers.get("Retry-After") if isinstance(error, Temporary) else None
                await _pause(attempt, float(seconds or 0))
                # While the workers are ready, the fault may lie in the picture: it would end worker after worker.
                faults += isinstance(error, (NotReady, OSError)) and self._use_case.health().ready
                problem: ServiceError = error if isinstance(error, ServiceError) else unexpected()
            except ServiceError as error:
                problem = error
                if isinstance(error, DeadlineExceeded) or error.status == 500:
                    faults += 1
                    await _pause(attempt)
                else:
                    faults = MAX_ATTEMPTS
            except Exception as error:  # of an archive that is damaged since, or a library of a store
                logger.error("unexpected error", job=job.id, error=type(error).__name__, exc_info=error)
                problem, faults = unexpected(), MAX_ATTEMPTS
            if faults >= MAX_ATTEMPTS:
                return line | {"problem": problem.document(identity)}
            attempt += 1

    async def _answer(self, job: Job, picture: Picture, identity: str) -> dict[str, Any]:
        # A task of its own: the bytes that a fetched picture holds are released when its task ends.
        return await asyncio.create_task(self._ask(job, picture, identity))

    async def _ask(self, job: Job, picture: Picture, identity: str) -> dict[str, Any]:
        if job.kind in READ:
            reader = await self._reader(job)
            image = ImageSource(await self._in_thread(reader.read, picture))
        elif (fetch := self._fetches.get(job.kind)) is not None:
            image = await fetch(picture.place, job.client)
        else:
            raise SwitchedOff(f"the adapter {job.kind} is switched off here")
        caller = Caller(owner=job.owner, client=job.client, request_id=identity, background=True)
        question = self._questions.get(job.id) or Question.model_validate(job.question)
        self._questions.put(job.id, question)
        request = await self._use_case.request(question, caller, image)
        request = replace(request, deadline=time.monotonic() + ASK_SECONDS, remember=False)
        return content_of(await self._use_case.backend.segment(request), identity)

    async def _reader(self, job: Job) -> Reader:
        async with self._reading:
            if (reader := self._readers.get(job.id)) is None:
                limit = self._settings.limits.max_image_bytes
                reader = await self._in_thread(reader_of, job, limit)
                self._readers.put(job.id, reader)
            return reader

    async def _until_ready(self) -> None:
        while not self._use_case.health().ready:
            await asyncio.sleep(POLL_SECONDS)


async def _by_url(place: str, client: str) -> ImageSource:
    return ImageSource(url=place)


def part_path(identity: str, name: str) -> str:
    """The place of a part among the files of jobs."""
    return f"{identity}/parts/{name}.jsonl"


async def _pause(attempt: int, least: float = 0.0) -> None:
    """Wait before the next attempt: longer after each, at least `least` seconds, up to `MAX_PAUSE`."""
    longer = 0.1 * 2.0 ** min(attempt, 10) * random.uniform(0.5, 1.0)
    await asyncio.sleep(min(MAX_PAUSE, max(least, longer)))
