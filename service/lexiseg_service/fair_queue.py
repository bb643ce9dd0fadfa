"""Who is served next: the fair queue of every stage and of the device, and the thread pool that takes from it.

The client with the least use so far is next, and of its flows (small and large work, or streams and single images) the
flow with the least; within a flow the first to come. A new client or flow starts at the use of the one served last, so
a pause earns no credit. Work in the background waits until nothing else may be served.

In the pool small work never waits for large work: one extra thread runs small work only, and while some is in flight,
here or in a stage with other threads, large work leaves it a core. Tasks that begin a request wait for tasks that go on
with one. No more large requests than may run at a time are begun and not answered: others wait where they hold no
pixels and can still be refused.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any, Generic, NamedTuple, TypeVar

import structlog

logger = structlog.get_logger("lexiseg.engine")
H = TypeVar("H", bound=Hashable)
T = TypeVar("T")
Work = Callable[[], None]
MAX_NEW_PER_TURN = 8  # newcomers that may overtake one that waits: without a limit they would starve it


class Sender(NamedTuple):
    """The origin of an item: its client, one of the client's flows, and whether it is work in the background."""

    client: str
    flow: Hashable = ""
    background: bool = False

    @property
    def owner(self) -> tuple[bool, str]:
        return self.background, self.client


class _Use:
    """The use of each member, in any unit, on one clock: the use of the member served last."""

    def __init__(self) -> None:
        self.used: dict[Hashable, float] = {}
        self._clock = self._newest = self._unit = 0.0  # the unit is the latest amount

    def enter(self, member: Hashable) -> None:
        """Add a member unless it is there; newcomers start a little behind each other, at most one unit late."""
        if member not in self.used:
            later = self._newest + self._unit / MAX_NEW_PER_TURN
            self._newest = self.used[member] = min(max(self._clock, later), self._clock + self._unit)

    def serve(self, member: Hashable) -> None:
        """Set the clock to the use of a member that is served."""
        self._clock = max(self._clock, self.used[member])

    def charge(self, member: Hashable, amount: float) -> None:
        self._unit = amount
        self.used[member] = self.used.get(member, self._clock) + amount

    def forget_all_but(self, waiting: set[Hashable]) -> None:
        """Forget the members that do not wait and would start at the clock anyway."""
        self.used = {member: used for member, used in self.used.items() if member in waiting or used > self._clock}


class FairQueue(Generic[H]):
    """Items that wait. Not thread-safe."""

    def __init__(self) -> None:
        self._lines: dict[Sender, tuple[list[H], list[H]]] = {}  # items that go ahead, then the others
        self._senders: dict[H, Sender] = {}
        self._owners = _Use()
        self._flows: dict[tuple[bool, str], _Use] = {}  # of one owner

    def __len__(self) -> int:
        return len(self._senders)

    def __contains__(self, item: object) -> bool:
        return item in self._senders

    def __iter__(self) -> Iterator[H]:
        """The items, in the order of their arrival."""
        return iter(tuple(self._senders))

    def sender_of(self, item: H) -> Sender:
        return self._senders[item]

    def add(self, item: H, sender: Sender, *, ahead: bool = False) -> None:
        """Add an item; with `ahead` before items of its flow that were added without."""
        self._owners.enter(sender.owner)
        self._flows_of(sender).enter(sender.flow)
        self._lines.setdefault(sender, ([], []))[not ahead].append(item)
        self._senders[item] = sender

    def next(self, is_allowed: Callable[[H], bool] = lambda item: True) -> H | None:
        """The item to serve next, of the allowed ones; it stays until it is taken or dropped."""
        firsts = ((sender, next(filter(is_allowed, chain(*line)), None)) for sender, line in self._lines.items())
        ready = {sender: item for sender, item in firsts if item is not None}
        if len(ready) < 2:
            return next(iter(ready.values()), None)
        owner = min((sender.owner for sender in ready), key=lambda owner: (owner[0], self._owners.used[owner]))
        use = self._flows[owner].used
        return ready[min((sender for sender in ready if sender.owner == owner), key=lambda sender: use[sender.flow])]

    def take(self, item: H, amount: float = 0) -> None:
        """Remove the item that is served, and count what it uses; `charge` its sender where that is known later."""
        sender = self._senders[item]
        self.serve(item, 0)
        self.drop(item)
        if amount:
            self.charge(sender, amount)

    def serve(self, item: H, amount: float) -> None:
        """Serve a part of an item, which keeps its place, and count what the part uses."""
        sender = self._senders[item]
        self._owners.serve(sender.owner)
        self._flows_of(sender).serve(sender.flow)
        if amount:
            self.charge(sender, amount)

    def drop(self, item: H) -> None:
        sender = self._senders.pop(item)
        line = self._lines[sender]
        line[item not in line[0]].remove(item)
        if not any(line):
            del self._lines[sender]

    def charge(self, sender: Sender, amount: float) -> None:
        self._owners.charge(sender.owner, amount)
        self._flows_of(sender).charge(sender.flow, amount)
        self._flows_of(sender).forget_all_but({other.flow for other in self._lines if other.owner == sender.owner})
        self._owners.forget_all_but({other.owner for other in self._lines})
        for owner in self._flows.keys() - self._owners.used.keys():
            del self._flows[owner]

    def _flows_of(self, sender: Sender) -> _Use:
        return self._flows.setdefault(sender.owner, _Use())


@dataclass(eq=False)
class _Task:
    work: Work
    sender: Sender
    large: bool
    since: float
    begins: Future[Any] | None


class FairExecutor:
    """Runs the work of many clients, `size` large tasks at a time, one less while `small_in_flight`; thread-safe."""

    def __init__(
        self,
        name: str,
        size: int,
        small_in_flight: Callable[[], bool] = lambda: False,
        initializer: Callable[[], object] | None = None,
    ) -> None:
        self._size = size
        self._small_in_flight = small_in_flight
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
            return [time.monotonic() - task.since for task in self._queue]

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
            task = _Task(work, Sender(source, large, background), large, time.monotonic(), begins)
            self._queue.add(task, task.sender, ahead=begins is None)
            self._threads.submit(self._run_next)

    async def call(self, source: str, work: Callable[[], T], *, large: bool = False) -> T:
        """The result of a client's work; work that still waits when the caller is cancelled is not done."""
        result: Future[T] = Future()
        self.submit(source, partial(complete, result, work), large=large)
        if not self._open:
            result.cancel()
        try:
            return await asyncio.wrap_future(result)
        finally:
            del result  # see `complete`

    def close(self) -> None:
        """Accept nothing more and drop the tasks that wait; does not wait for running ones."""
        with self._guard:
            self._open = False
            self._queue = FairQueue()
            self._threads.shutdown(wait=False, cancel_futures=True)

    def _run_next(self) -> None:
        with self._guard:
            task = self._queue.next(self._may_run)
            if task is not None:
                self._queue.take(task)
                self._large_running += task.large
                self._large_begun[task.sender.background] += task.large and task.begins is not None
        if task is None:
            return
        began = time.monotonic()
        try:
            task.work()
        except Exception:
            logger.exception("work on a thread failed")
        with self._guard:
            self._large_running -= task.large
            self._queue.charge(task.sender, time.monotonic() - began)
            if task.large:
                self._run_large()
        if task.large and task.begins is not None:
            task.begins.add_done_callback(partial(self._on_answer, task.sender.background))
        del task  # see `complete`

    def _run_large(self) -> None:
        """Run large tasks that had to wait and may run now."""
        if self._open:
            for _ in range(self._size - self._large_running):
                self._threads.submit(self._run_next)

    def _on_answer(self, background: bool, _: Future[Any]) -> None:
        with self._guard:
            self._large_begun[background] -= 1
            self._run_large()

    def _may_run(self, task: _Task) -> bool:
        if not task.large:
            return True
        if task.begins is not None and self._large_begun[task.sender.background] >= self._size:
            return False
        return self._large_running < max(1, self._size - self._small_in_flight())


def complete(result: Future[T], work: Callable[[], T]) -> None:
    """Do some work for a future, unless it was cancelled."""
    if not result.set_running_or_notify_cancel():
        return
    try:
        result.set_result(work())
    except Exception as error:
        result.set_exception(error)
        # The traceback of the error leads to this frame and its callers: pictures would stay until a collection.
        del result, work
