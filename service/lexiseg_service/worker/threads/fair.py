"""Threads of one stage: sources share their time, and small work never waits for large work to end.

One thread more than was asked for takes small work alone. However long the large pieces are that keep the others, a
small one finds a thread; and when there is no small work, as many threads as were asked for do the large. All have
short turns on a core: who needs a moment of one beside others that have work for seconds gets it soon.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import structlog

from lexiseg_service.niceness import NICEST
from lexiseg_service.short_turns import ALSO_FOR_THOSE_IT_BEGINS, take_short_turns
from lexiseg_service.worker.threads.shares import Shares
from lexiseg_service.worker.threads.stepping_aside import compute_aside

logger = structlog.get_logger("lexiseg.engine")
Work = Callable[[], None]


class FairThreads:
    """Runs work of many sources; safe to use from any thread.

    Args:
        name: of the threads.
        size: of them, as many as may do large work at a time.
        prepare: run once on each, and on what computes beside it.
        clock: seconds; only its differences matter.
    """

    def __init__(
        self,
        name: str,
        size: int,
        prepare: Callable[[], object] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._size = size
        self._clock = clock
        self._shares: Shares[Work] = Shares()
        self._guard = threading.Lock()
        self._large_running = 0
        self._open = True

        def begin() -> None:
            take_short_turns(ALSO_FOR_THOSE_IT_BEGINS)
            compute_aside(NICEST, prepare)

        self._threads = ThreadPoolExecutor(size + 1, name, begin)

    @property
    def waiting(self) -> int:
        """Pieces of work without a thread."""
        with self._guard:
            return len(self._shares)

    @property
    def longest_wait(self) -> float:
        """Seconds that the oldest of them has waited."""
        with self._guard:
            oldest = self._shares.oldest()
        return 0.0 if oldest is None else self._clock() - oldest

    def submit(self, source: str, work: Work, *, large: bool = False) -> None:
        """Has work done, when it is its source's turn. Work must not raise."""
        with self._guard:
            if self._open:
                self._shares.put(source, work, self._clock(), large=large)
                self._threads.submit(self._take_turn)

    def close(self) -> None:
        """Takes nothing more and forgets what waits; what runs is not waited for."""
        with self._guard:
            self._open = False
            self._shares = Shares()
            self._threads.shutdown(wait=False, cancel_futures=True)

    def _take_turn(self) -> None:
        """Does what comes next, whatever it was that was submitted; nothing if only large work waits for its turn."""
        with self._guard:
            shares = self._shares
            turn = shares.take(lambda large: not large or self._large_running < self._size)
            if turn is None:
                return
            self._large_running += turn.large
        began = self._clock()
        try:
            turn.work()
        except Exception:
            logger.exception("work on a thread failed")
        with self._guard:
            shares.done(turn, self._clock() - began)
            self._large_running -= turn.large
            # Large work that found no thread has left none of its own behind.
            if turn.large and self._open:
                self._threads.submit(self._take_turn)
