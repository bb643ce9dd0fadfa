"""Fair thread pool: clients share the threads, and small work never waits for large work.

The client with the least thread time so far is served next; within a client the same holds for small and large work. A
new client starts at the time of the one served last, so a pause earns no credit. One extra thread runs small work only.
While small work is in flight, here or in a stage with other threads, large work leaves it a core.

Tasks that begin a request wait for those that go on with one. No more large requests than may run at a time are begun
and not answered: others wait where they hold no pixels and can still be refused.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import structlog

logger = structlog.get_logger("lexiseg.engine")
T = TypeVar("T")
Work = Callable[[], None]
SIZES = (False, True)  # small, large


@dataclass(eq=False)
class _Task:
    source: str
    large: bool
    work: Work
    since: float
    begins: Future[Any] | None


@dataclass
class _Client:
    """Seconds used on the threads, in all and by size, and the tasks that wait."""

    used: float
    used_by_size: dict[bool, float] = field(default_factory=lambda: dict.fromkeys(SIZES, 0.0))
    waiting: dict[bool, deque[_Task]] = field(default_factory=lambda: {size: deque() for size in SIZES})
    running: int = 0

    @property
    def idle(self) -> bool:
        return not self.running and not any(self.waiting.values())


class FairExecutor:
    """Runs the work of many clients; safe to use from any thread.

    Args:
        name: of the threads.
        size: large tasks that may run at a time.
        small_in_flight: whether there is small work, here or in a stage with other threads.
        clock: seconds; only its differences matter.
        initializer: called in each new thread.
    """

    def __init__(
        self,
        name: str,
        size: int,
        small_in_flight: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
        initializer: Callable[[], object] | None = None,
    ) -> None:
        self._size = size
        self._small_in_flight = small_in_flight
        self._clock = clock
        self._clients: dict[str, _Client] = {}
        self._now = 0.0  # seconds used by the client that was served last
        self._large_running = self._large_begun = 0
        self._open = True
        self._guard = threading.Lock()
        self._threads = ThreadPoolExecutor(size + 1, name, initializer)

    @property
    def waits(self) -> list[float]:
        """Seconds that each task without a thread has waited."""
        with self._guard:
            queues = [queue for client in self._clients.values() for queue in client.waiting.values()]
            return [self._clock() - task.since for queue in queues for task in queue]

    def submit(self, source: str, work: Work, *, large: bool = False, begins: Future[Any] | None = None) -> None:
        """Run a task of a client; `begins`: the answer of the request that this task is the first of."""
        with self._guard:
            if not self._open:
                return
            client = self._clients.setdefault(source, _Client(self._now))
            if client.idle:
                client.used = max(client.used, self._now)
            if not client.waiting[large]:
                client.used_by_size[large] = max(client.used_by_size[large], client.used_by_size[not large])
            queue = client.waiting[large]
            place = len(queue) if begins else sum(task.begins is None for task in queue)
            queue.insert(place, _Task(source, large, work, self._clock(), begins))
            self._threads.submit(self._run_next)

    async def call(self, source: str, work: Callable[[], T], *, large: bool = False) -> T:
        """The result of a client's work; work that still waits when the caller is cancelled is not done.

        Raises:
            CancelledError: the executor is closed.
        """
        result: Future[T] = Future()
        self.submit(source, partial(_complete, result, work), large=large)
        if not self._open:
            result.cancel()
        return await asyncio.wrap_future(result)

    def close(self) -> None:
        """Accept nothing more and drop the tasks that wait; does not wait for those that run."""
        with self._guard:
            self._open = False
            self._clients.clear()
            self._threads.shutdown(wait=False, cancel_futures=True)

    def _run_next(self) -> None:
        """Run the next task, if there is one that may run."""
        with self._guard:
            task = self._take()
        if task is None:
            return
        began = self._clock()
        try:
            task.work()
        except Exception:
            logger.exception("work on a thread failed")
        with self._guard:
            self._done(task, self._clock() - began)
            if task.large:
                self._run_large()
        if task.large and task.begins is not None:
            task.begins.add_done_callback(self._answered)

    def _run_large(self) -> None:
        """Run large tasks that had to wait and may run now."""
        if self._open:
            for _ in range(self._size - self._large_running):
                self._threads.submit(self._run_next)

    def _answered(self, _: Future[Any]) -> None:
        with self._guard:
            self._large_begun -= 1
            self._run_large()

    def _may_run(self, task: _Task) -> bool:
        if not task.large:
            return True
        if task.begins is not None and self._large_begun >= self._size:
            return False
        return self._large_running < max(1, self._size - self._small_in_flight())

    def _take(self) -> _Task | None:
        choices = [
            (client.used, client.used_by_size[large], name, large)
            for name, client in self._clients.items()
            for large in SIZES
            if client.waiting[large] and self._may_run(client.waiting[large][0])
        ]
        if not choices:
            return None
        *_, name, large = min(choices, key=lambda choice: choice[:2])
        client = self._clients[name]
        self._now = max(self._now, client.used)
        client.running += 1
        task = client.waiting[large].popleft()
        self._large_running += large
        self._large_begun += large and task.begins is not None
        return task

    def _done(self, task: _Task, seconds: float) -> None:
        self._large_running -= task.large
        client = self._clients.get(task.source)
        if client is None:  # the executor was closed meanwhile
            return
        client.running -= 1
        client.used += seconds
        client.used_by_size[task.large] += seconds
        for name in [name for name, each in self._clients.items() if each.idle and each.used <= self._now]:
            del self._clients[name]
        if all(client.idle for client in self._clients.values()):
            self._clients.clear()


def _complete(result: Future[T], work: Callable[[], T]) -> None:
    if not result.set_running_or_notify_cancel():
        return
    try:
        result.set_result(work())
    except Exception as error:
        result.set_exception(error)
