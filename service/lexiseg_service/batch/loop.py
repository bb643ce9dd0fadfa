"""How a batch is worked on, everywhere: ask about pictures in order, some at a time, and commit their lines in parts.

    pictures that are taken -> ask -> line: an answer or a problem -> part -> commit

A picture is done, has a problem, or is not yet looked at: one that is in no committed part is retried by the
next worker.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor as Threads
from contextlib import aclosing
from functools import partial
from typing import Any, Protocol, TypeVar

import structlog

from lexiseg_client.calling.mapping import map_async
from lexiseg_model.resources.lru import Lru
from lexiseg_service.batch.ledger.job import Job, Line
from lexiseg_service.batch.sources.files import reader_of
from lexiseg_service.batch.sources.source import Picture, Reader, SourceKind
from lexiseg_service.errors import DeadlineExceeded, NotReady, RateLimited, ServiceError, Temporary, unexpected
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


class Preempted(Exception):
    """Other work goes first: the pictures that are left are not asked now."""


class Part(Protocol):
    """Lines on their way to a ledger; `is_due`: they are to be committed now. Empty again once they are committed."""

    @property
    def is_due(self) -> bool: ...

    @property
    def is_empty(self) -> bool: ...

    def add(self, picture: Picture, line: Line) -> None: ...

    async def commit(self) -> bool:
        """Write the lines, and record that their pictures are settled; False: nobody wants them any more."""
        ...


async def work(
    pictures: Sequence[Picture],
    ask: Callable[[Picture], Awaitable[Line]],
    part: Part,
    width: int = 1,
    ends: Callable[[int], bool] = lambda _: False,
) -> bool:
    """Ask about pictures, `width` at a time, and commit their lines in order; True once every picture is settled.

    `ask` may raise Preempted; `ends` gets the number of pictures that were asked.
    """
    n_begun = 0
    try:
        async with aclosing(map_async(ask, pictures, width)) as lines:
            while n_begun < len(pictures) and not ends(n_begun):
                part.add(pictures[n_begun], await anext(lines))
                n_begun += 1
                if part.is_due and not await part.commit():
                    return False
    except Preempted:
        pass
    if not part.is_empty and not await part.commit():
        return False
    return n_begun == len(pictures)


class Executor(Protocol):
    """What segments the pictures of jobs: workers behind a gateway, or the model of this process."""

    @property
    def is_ready(self) -> bool: ...

    @property
    def gives_way(self) -> bool:
        """Whether other requests are in flight, which go first."""
        ...

    async def admit(self, job: Job) -> None:
        """Count a picture of a job's client. Raises RateLimited: a limit of the client is reached."""
        ...

    async def segment(self, job: Job, image: ImageSource, identity: str) -> WorkerAnswer: ...


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
        self._problem_of = problem_of
        self._asking = 0  # pictures in flight
        self._admission_lock = asyncio.Lock()  # lanes pass it in the order in which they came
        self.readers: Lru[str, Reader] = Lru(MAX_READERS)
        self._reading = asyncio.Lock()
        self.fetches: dict[SourceKind, Fetch] = {}  # of adapters; other kinds of sources have a reader

    async def line(self, job: Job, picture: Picture, gives_way: Callable[[], bool] = lambda: False) -> Line:
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
                    # A task of its own: the bytes that a fetched picture holds are released when its task ends.
                    return line | {"answer": await asyncio.create_task(self._ask(job, picture, identity))}
                finally:
                    self._asking -= 1
            except (Temporary, OSError) as error:
                is_limited = isinstance(error, RateLimited)
                seconds = error.headers.get("Retry-After") if isinstance(error, Temporary) else None
                await pause(attempt, float(seconds or 0), gives_way if is_limited else lambda: False)
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

    async def _ask(self, job: Job, picture: Picture, identity: str) -> dict[str, Any]:
        if job.kind == "urls":
            image = ImageSource(url=picture.place)
        elif (fetch := self.fetches.get(job.kind)) is not None:
            image = await fetch(picture.place, job.client)
        else:
            async with self._reading:
                if (reader := self.readers.get(job.id)) is None:
                    reader = await self.in_thread(self._open_reader, job)
                    self.readers.put(job.id, reader)
            image = ImageSource(await self.in_thread(reader.read, picture))
        return answer_content(await self._executor.segment(job, image, identity), identity)

    def in_thread(self, work: Callable[..., T], *arguments: Any) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(self._threads, partial(work, *arguments))


async def pause(attempt: int, least: float = 0.0, ends: Callable[[], bool] = lambda: False) -> None:
    """Wait before the next attempt: longer after each, from `least` seconds up to `MAX_PAUSE`, or until `ends()`."""
    longer = backoff(attempt, FIRST_PAUSE, MAX_PAUSE) * random.uniform(0.5, 1.0)
    until = time.monotonic() + min(MAX_PAUSE, max(least, longer))
    while (left := until - time.monotonic()) > 0 and not ends():
        await asyncio.sleep(min(left, READY_SECONDS))
