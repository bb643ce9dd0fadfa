"""Work that must be done in order, on threads that come out of order."""

from __future__ import annotations

import threading
from collections.abc import Callable

Work = Callable[[], None]


class Turns:
    """Numbered work, from 0: done one after the other, on whichever thread brings what comes next. Nobody waits.

    Every number has to be brought, if only with nothing to do; who brings it first decides. Work must not raise.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._ready: dict[int, Work] = {}
        self._next = 0
        self._busy = False

    def bring(self, number: int, work: Work) -> bool:
        """Does the work if it is its turn, and all that it held up; else leaves it to whoever brings its predecessor.

        Returns:
            False when the number was brought before: this work will not be done.
        """
        with self._guard:
            if number < self._next or number in self._ready:
                return False
            self._ready[number] = work
            if self._busy:
                return True
            self._busy = True
        while (turn := self._take()) is not None:
            turn()
        return True

    def _take(self) -> Work | None:
        with self._guard:
            work = self._ready.pop(self._next, None)
            if work is None:
                self._busy = False
            else:
                self._next += 1
            return work
