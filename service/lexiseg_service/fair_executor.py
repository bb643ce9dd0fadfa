"""Fair thread pool: threads that take from a `FairQueue`; small work never waits for large work.

One extra thread runs small work only. While small work is in flight, here or in a stage with other threads, large work
leaves it a core.

Tasks that begin a request wait for those that go on with one. No more large requests than may run at a time are begun
and not answered: others wait where they hold no pixels and can still be refused.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import structlog

from lexiseg_service.fair_queue import FairQueue, Sender

logger = structlog.get_logger("lexiseg.engine")
T = TypeVar("T")
Work = Callable[[], None]


@dataclass(eq=False)
class _Task:
    work: Work
    sender: Sender
    large: bool
    since: float
    begins: Future[Any] | None


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
        self._queue: FairQueue[_Task] = FairQueue()
        self._large_running = 0
        self._large_begun: Counter[bool] = Counter()  # requests, by whether they are in the background
        self._open = True
        self._guard = threading.Lock()
        self._threads = ThreadPoolExecutor(size + 1, name, initializer)

    @property
    def waits(self) -> list[float]:
        """Seconds that each task without a thread has waited."""
        with self._guard:
            return [self._clock() - task.since for task in self._queue]

    def submit(
        self,
        source: str,
        work: Work,
        *,
        large: bool = False,
        background: bool = False,
        begins: Future[Any] | None = None,
    ) -> None:
        """Run a task of a client; `begins`: the answer of the request that this task is the first of."""
        with self._guard:
            if not self._open:
                return
            task = _Task(work, Sender(source, large, background), large, self._clock(), begins)
            self._queue.put(task, task.sender, ahead=begins is None)
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
            self._queue = FairQueue()
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
            task.begins.add_done_callback(partial(self._answered, task.sender.background))

    def _run_large(self) -> None:
        """Run large tasks that had to wait and may run now."""
        if self._open:
            for _ in range(self._size - self._large_running):
                self._threads.submit(self._run_next)

    def _answered(self, background: bool, _: Future[Any]) -> None:
        with self._guard:
            self._large_begun[background] -= 1
            self._run_large()

    def _may_run(self, task: _Task) -> bool:
        if not task.large:
            return True
        if task.begins is not None and self._large_begun[task.sender.background] >= self._size:
            return False
        return self._large_running < max(1, self._size - self._small_in_flight())

    def _take(self) -> _Task | None:
        task = self._queue.next(self._may_run)
        if task is not None:
            self._queue.take(task)
            self._large_running += task.large
            self._large_begun[task.sender.background] += task.large and task.begins is not None
        return task

    def _done(self, task: _Task, seconds: float) -> None:
        self._large_running -= task.large
        self._queue.charge(task.sender, seconds)


def _complete(result: Future[T], work: Callable[[], T]) -> None:
    if not result.set_running_or_notify_cancel():
        return
    try:
        result.set_result(work())
    except Exception as error:
        result.set_exception(error)
