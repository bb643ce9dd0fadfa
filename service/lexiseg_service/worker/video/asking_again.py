"""Streams whose next frame the engine had no place for: they ask again one after the other.

To ask costs the event loop as much as to be admitted, and all of a client's streams would ask in vain: so each client
has a line, whose first asks every so often, and the next as long as there is room.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable

AGAIN_SECONDS = 0.02  # until the first of each line asks


class AskingAgain:
    """The lines of one worker; on one event loop."""

    def __init__(self) -> None:
        self._lines: dict[str, OrderedDict[object, Callable[[], bool]]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def is_waiting(self, source: str) -> bool:
        """Whether somebody of a source asked in vain, who goes before those that have not asked."""
        return source in self._lines

    def join(self, source: str, who: object, ask: Callable[[], bool]) -> None:
        """Takes the last place in a source's line, once at a time; `ask` tells whether there was room.

        Who asked in vain joins anew.
        """
        self._lines.setdefault(source, OrderedDict()).setdefault(who, ask)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(AGAIN_SECONDS, self._look)

    def leave(self, source: str, who: object) -> None:
        """Asks no more; whoever is not in the line has no place to lose."""
        line = self._lines.get(source, OrderedDict())
        if who in line:
            del line[who]
            if not line:
                del self._lines[source]

    def _look(self) -> None:
        self._timer = None
        for source in tuple(self._lines):
            while (line := self._lines.get(source)) is not None:
                who, ask = next(iter(line.items()))
                self.leave(source, who)
                if not ask():
                    break
