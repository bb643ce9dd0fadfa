"""SIGTERM and Ctrl-C ask a run to stop: it ends its step, saves, and returns."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

ASKING = (signal.SIGTERM, signal.SIGINT)
GRACE_SECONDS = 2.0  # a signal to all processes of a run reaches them one after the other


class Stops:
    """In its block a first signal only sets `asked`; a second Ctrl-C interrupts as ever."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._before: dict[signal.Signals, Any] = {}
        self.by = ""  # the name of the signal

    @property
    def asked(self) -> bool:
        return self._asked.is_set()

    def asked_soon(self) -> bool:
        """Whether a signal came, or comes within a moment: a worker may have died of one that we get next."""
        return self._asked.wait(GRACE_SECONDS)

    def __enter__(self) -> Stops:
        if threading.current_thread() is threading.main_thread():  # no other may set handlers
            self._before = {which: signal.signal(which, self._ask) for which in ASKING}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for which, handler in self._before.items():
            signal.signal(which, handler)

    def _ask(self, which: int, frame: FrameType | None) -> None:
        if self.asked and which == signal.SIGINT:
            raise KeyboardInterrupt
        self.by = signal.Signals(which).name
        self._asked.set()
