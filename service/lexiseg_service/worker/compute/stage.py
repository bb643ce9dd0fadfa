"""The compute stage: threads that own the device, for all models.

The first takes what waits, up to max_batch tiles of one model and one bucket, and waits only when nothing waits. While
several sources wait, a batch has no more tiles than pass quickly: each of them waits for the batches of the others. A
CPU takes as long for tiles together as for one after the other, so there this holds for every batch, for somebody may
come; only each of its cores has a tile.

Where a model's passes may run beside each other, each core of a CPU has a thread that takes tile after tile, so none
waits for another; one that finds nobody waiting behind its tile takes the cores that are free into its pass.

Between two batches the first thread does errands: other work for the device, as the warm-up of a model that has just
been loaded. Then, and while a model without passes beside each other has its own, it has the device to itself.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import NamedTuple

import torch

from lexiseg_service.errors import NotReady
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.worker.compute.line import Line
from lexiseg_service.worker.compute.passes import Batch, Passes
from lexiseg_service.worker.job import AnyJob
from lexiseg_service.worker.models.pool import GOING_DOWN

COMPUTE_THREADS = torch.get_num_threads()  # cores of a CPU
QUICK = 0.15  # seconds of an image pass, while several sources wait
QUICK_ON_CPU = 0.05  # whoever waits
Errand = tuple[Future[None], Callable[[], object]]


class Turn(NamedTuple):
    """What a compute thread does next, by so many threads: a batch or an errand."""

    threads: int
    batch: Batch
    errand: Errand | None = None


class ComputeStage:
    """Planned jobs in, jobs with features out: each is handed to `encoded`, on a compute thread.

    `gains` tells whether tiles together take less than one after the other, as on a GPU.
    """

    def __init__(
        self,
        max_batch: int,
        metrics: Metrics,
        encoded: Callable[[AnyJob], None],
        gains: bool = True,
    ) -> None:
        self._passes = Passes(metrics, encoded)
        self._gains = gains
        self._max_batch = max_batch
        self._metrics = metrics
        self._line: Line[AnyJob] = Line()
        self._errands: deque[Errand] = deque()
        self._guard = threading.Lock()
        self._first, self._others = threading.Condition(self._guard), threading.Condition(self._guard)
        self._first_waits = False
        self._open = True
        self._free = COMPUTE_THREADS
        self._threads = [
            threading.Thread(target=self._forever, args=(first,), name="compute", daemon=True)
            for first in (True, *[False] * (0 if gains else COMPUTE_THREADS - 1))
        ]
        for thread in self._threads:
            thread.start()

    def put(self, job: AnyJob) -> None:
        """A job whose plan is there joins the line."""
        with self._guard:
            self._line.put(job)
            self._metrics.queue_depth.set(len(self._line))
            self._wake()

    def run(self, errand: Callable[[], object]) -> Future[None]:
        """Has something done on the first compute thread, after the batches that are under way."""
        done: Future[None] = Future()
        with self._guard:
            if self._open:
                self._errands.append((done, errand))
                self._wake()
            else:
                done.set_exception(NotReady(GOING_DOWN))
        return done

    def close(self, seconds: float) -> None:
        """Takes nothing more and waits for the batches under way; jobs still in the line must be abandoned by now."""
        deadline = time.monotonic() + seconds
        with self._guard:
            self._open = False
            for done, _ in self._errands:
                done.set_exception(NotReady(GOING_DOWN))
            self._errands.clear()
            self._first.notify_all()
            self._others.notify_all()
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _forever(self, first: bool) -> None:
        while True:
            with self._guard:
                while (turn := self._next(first)) is None:
                    if not self._open and not self._line:
                        return
                    self._metrics.queue_depth.set(len(self._line))
                    self._wait(first)
                self._free -= turn.threads
                self._metrics.queue_depth.set(len(self._line))
                self._wake()
            self._do(turn)
            with self._guard:
                self._free += turn.threads
                self._wake()
            # The thread would otherwise keep the last batch's images, or a model, alive while it waits.
            del turn

    def _do(self, turn: Turn) -> None:
        # Of each new thread torch takes the number that was set last, by whichever thread.
        torch.set_num_threads(turn.threads)
        if turn.batch:
            self._passes.run(turn.batch, turn.threads / COMPUTE_THREADS)
        if turn.errand is not None:
            _run(*turn.errand)

    def _wait(self, first: bool) -> None:
        if first:
            self._first_waits = True
            self._first.wait()
            self._first_waits = False
        else:
            self._others.wait()

    def _wake(self) -> None:
        """One of the threads that wait, if something else does: the first before others, as it may begin anything."""
        if self._free and (self._line or self._errands):
            waiting = self._first if self._first_waits else self._others
            self._first_waits = False
            waiting.notify()

    def _next(self, first: bool) -> Turn | None:
        """What a thread may begin now; None if it is to wait."""
        alone = first and self._free == COMPUTE_THREADS
        if self._errands:
            return Turn(self._free, [], self._errands.popleft()) if alone else None
        job = self._line.next
        if job is None or not self._free:
            return None
        if job.loaded.segmenter.passes_side_by_side:
            return Turn(self._free // min(self._free, len(self._line)), self._line.take(1))
        return Turn(self._free, self._line.take(self._most())) if alone else None

    def _most(self) -> int:
        """Tiles of the next batch."""
        quick, least = (QUICK, 1) if self._gains else (QUICK_ON_CPU, COMPUTE_THREADS)  # a core takes a tile of its own
        per_tile = self._passes.seconds_per_tile
        if (self._gains and self._line.n_sources < 2) or self._max_batch * per_tile <= quick:
            return self._max_batch
        return min(self._max_batch, max(least, int(quick / per_tile)))


def _run(done: Future[None], errand: Callable[[], object]) -> None:
    try:
        errand()
    except Exception as error:
        done.set_exception(error)
    else:
        done.set_result(None)
