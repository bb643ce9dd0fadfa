"""Ask one picture of a job until it has an answer, or a problem that it always has."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Set
from concurrent.futures import Executor as Threads
from functools import partial
from typing import Any, Protocol, TypeVar

import structlog

from lexiseg_model.resources.lru import Lru
from lexiseg_service.batch.lane import Line
from lexiseg_service.batch.ledger.job import Job
from lexiseg_service.batch.sources.files import READ, reader_of
from lexiseg_service.batch.sources.source import Picture, Reader, SourceKind
from lexiseg_service.errors import (
    DeadlineExceeded,
    NotReady,
    RateLimited,
    ServiceError,
    SwitchedOff,
    Temporary,
    unexpected,
)
from lexiseg_service.question.messages import ImageSource, WorkerAnswer, answer_content
from lexiseg_service.retries import backoff

logger = structlog.get_logger("lexiseg.jobs")
T = TypeVar("T")
Fetch = Callable[[str, str], Awaitable[ImageSource]]  # of a picture, by its place, for a client
MAX_CONCURRENT_WITH_TRAFFIC = 1  # while it has other requests in flight: workers serve them first, but share the cores
LOOK_SECONDS = 0.02  # between looks whether they are over
READY_SECONDS = 1.0  # between looks whether workers are ready
FIRST_PAUSE, MAX_PAUSE = 0.1, 30.0  # seconds, between attempts
MAX_ATTEMPTS = 5  # for faults that may lie in the picture
MAX_READERS = 16  # open archives


class Executor(Protocol):
    """What segments the pictures of jobs: workers behind a gateway, or the model of this process."""

    @property
    def is_ready(self) -> bool:
        """Whether a picture can be segmented now."""
        ...

    @property
    def gives_way(self) -> bool:
        """Whether other requests are in flight, which go first."""
        ...

    async def admit(self, job: Job) -> None:
        """Count a picture of a job's client. Raises RateLimited: a limit of the client is reached."""
        ...

    async def segment(self, job: Job, image: ImageSource, identity: str) -> WorkerAnswer:
        """Ask a job's question about an image."""
        ...


def _unexpected(error: Exception) -> ServiceError:
    logger.error("unexpected error", error=type(error).__name__, exc_info=error)
    return unexpected()


class PictureRunner:
    """Asks the pictures of one process."""

    def __init__(
        self,
        executor: Executor,
        threads: Threads,
        max_image_bytes: int,
        open_reader: Callable[[Job], Reader] | None = None,
        problem_of: Callable[[Exception], ServiceError] = _unexpected,
    ) -> None:
        self._executor = executor
        self._threads = threads
        self._open_reader = open_reader or (lambda job: reader_of(job.kind, job.root, max_image_bytes))
        self._reads = READ if open_reader is None else None  # kinds; None: all
        self._problem_of = problem_of
        self._asking = 0  # pictures in flight
        self._admission_lock = asyncio.Lock()  # lanes pass it in the order in which they came
        self._readers: Lru[str, Reader] = Lru(MAX_READERS)
        self._reading = asyncio.Lock()
        self._fetches: dict[SourceKind, Fetch] = {"urls": _by_url}

    def fetch_by(self, kind: SourceKind, fetch: Fetch) -> None:
        """Have the pictures of a kind of source fetched by a function."""
        self._fetches[kind] = fetch

    def close_all_but(self, jobs: Set[str]) -> None:
        """Close the archives of all other jobs: an open file takes room on the disk after it is removed."""
        for identity, _ in self._readers.items():
            if identity not in jobs:
                self._readers.drop(identity)

    async def line(self, job: Job, picture: Picture, gives_way: Callable[[], bool]) -> Line:
        """The line of a picture: its answer, or the problem that it always has."""
        line: dict[str, Any] = {"number": picture.number, "image": picture.name, "answer": None, "problem": None}
        identity = f"{job.id}-{picture.number}"
        attempt = faults = 0
        while True:
            try:
                while not self._executor.is_ready:
                    await asyncio.sleep(READY_SECONDS)
                await self._executor.admit(job)
                async with self._admission_lock:
                    while self._asking >= MAX_CONCURRENT_WITH_TRAFFIC and self._executor.gives_way:
                        await asyncio.sleep(LOOK_SECONDS)
                    self._asking += 1
                try:
                    return line | {"answer": await self._answer(job, picture, identity)}
                finally:
                    self._asking -= 1
            except (Temporary, OSError) as error:
                is_limited = isinstance(error, RateLimited)
                seconds = error.headers.get("Retry-After") if isinstance(error, Temporary) else None
                await pause(attempt, float(seconds or 0), gives_way if is_limited else never)
                if is_limited and gives_way():
                    raise
                # While the workers are ready, the fault may lie in the picture: it would end worker after worker.
                faults += isinstance(error, (NotReady, OSError)) and self._executor.is_ready
                problem: Exception = error
            except ServiceError as error:
                problem = error
                if isinstance(error, DeadlineExceeded) or error.status == 500:
                    faults += 1
                    await pause(attempt)
                else:
                    faults = MAX_ATTEMPTS
            except Exception as error:  # of an archive that is damaged since, or a library of a store
                problem, faults = error, MAX_ATTEMPTS
            if faults >= MAX_ATTEMPTS:
                last = problem if isinstance(problem, ServiceError) else self._problem_of(problem)
                return line | {"problem": last.document(identity)}
            attempt += 1

    async def _answer(self, job: Job, picture: Picture, identity: str) -> dict[str, Any]:
        # A task of its own: the bytes that a fetched picture holds are released when its task ends.
        return await asyncio.create_task(self._ask(job, picture, identity))

    async def _ask(self, job: Job, picture: Picture, identity: str) -> dict[str, Any]:
        if self._reads is None or job.kind in self._reads:
            reader = await self._reader(job)
            image = ImageSource(await self._in_thread(reader.read, picture))
        elif (fetch := self._fetches.get(job.kind)) is not None:
            image = await fetch(picture.place, job.client)
        else:
            raise SwitchedOff(f"the adapter {job.kind} is switched off here")
        return answer_content(await self._executor.segment(job, image, identity), identity)

    async def _reader(self, job: Job) -> Reader:
        async with self._reading:
            if (reader := self._readers.get(job.id)) is None:
                reader = await self._in_thread(self._open_reader, job)
                self._readers.put(job.id, reader)
            return reader

    def _in_thread(self, work: Callable[..., T], *arguments: Any) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(self._threads, partial(work, *arguments))


async def _by_url(place: str, client: str) -> ImageSource:
    return ImageSource(url=place)


def never() -> bool:
    """No."""
    return False


async def pause(attempt: int, least: float = 0.0, ends: Callable[[], bool] = never) -> None:
    """Wait before the next attempt: longer after each, from `least` seconds up to `MAX_PAUSE`, or until `ends()`."""
    longer = backoff(attempt, FIRST_PAUSE, MAX_PAUSE) * random.uniform(0.5, 1.0)
    until = time.monotonic() + min(MAX_PAUSE, max(least, longer))
    while (left := until - time.monotonic()) > 0 and not ends():
        await asyncio.sleep(min(left, READY_SECONDS))
