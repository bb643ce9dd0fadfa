"""How many of our requests a server gets at a time: as many as it takes without "too many"."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

GOOD_RUN = 16  # answers without a refusal, after which one request more is tried


class Pace:
    """Lanes for requests. A refusal closes one and holds up the others; a run of answers opens one again.

    With one lane left, a request waits its turn and then alone for its time: a server with any limit answers it.
    """

    def __init__(
        self, most: int, sleep: Callable[[float], object] = time.sleep, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._most = most
        self._sleep = sleep
        self._clock = clock
        self._changed = threading.Condition()
        self._busy = 0
        self._resume_at = float("-inf")
        self._good = 0
        self.lanes = most

    @contextmanager
    def lane(self) -> Iterator[None]:
        """Waits for a free lane, and until the server wants to be asked again."""
        with self._changed:
            self._changed.wait_for(lambda: self._busy < self.lanes)
            self._busy += 1
            pause = self._resume_at - self._clock()
        try:
            if pause > 0:
                self._sleep(pause)
            yield
        finally:
            with self._changed:
                self._busy -= 1
                self._changed.notify_all()

    def refused(self, seconds: float) -> None:
        """The server has had too many and wants none for so long."""
        with self._changed:
            self.lanes = max(1, self.lanes - 1)
            self._good = 0
            self._resume_at = max(self._resume_at, self._clock() + seconds)

    def answered(self) -> None:
        """A request went well."""
        with self._changed:
            self._good += 1
            if self._good % GOOD_RUN == 0 and self.lanes < self._most:
                self.lanes += 1
                self._changed.notify_all()
