"""Signals and process lifetime: graceful stop on SIGTERM and Ctrl-C, data workers that end with their run."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any

STOPPING = (signal.SIGTERM, signal.SIGINT)
GRACE_SECONDS = 2.0  # a signal to all processes of a run reaches them one after the other
WORKER_GRACE_SECONDS = 30  # lifetime of a worker after SIGTERM, while its run ends the step and saves


class Stops:
    """Context manager: the first signal only sets `requested`; a second Ctrl-C interrupts.

    `with_parent`: also stop when the parent process, such as torchrun, is gone.
    """

    def __init__(self, with_parent: bool = False) -> None:
        self._parent = os.getppid() if with_parent else None
        self._requested = threading.Event()
        self._before: dict[signal.Signals, Any] = {}
        self.by = ""  # name of the signal, or another reason

    @property
    def requested(self) -> bool:
        if self._parent is not None and os.getppid() != self._parent:
            self.by = "the end of the parent process"
            self._requested.set()
        return self._requested.is_set()

    def requested_soon(self) -> bool:
        """Whether a signal arrives within a grace period: a worker may have died of one that we get next."""
        return self._requested.wait(GRACE_SECONDS)

    def __enter__(self) -> Stops:
        if threading.current_thread() is threading.main_thread():  # no other may set handlers
            self._before = {which: signal.signal(which, self._request) for which in STOPPING}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for which, handler in self._before.items():
            signal.signal(which, handler)

    def _request(self, which: int, frame: FrameType | None) -> None:
        if self.requested and which == signal.SIGINT:
            raise KeyboardInterrupt
        self.by = signal.Signals(which).name
        self._requested.set()


def begin_worker(worker: int) -> None:
    """Initialise a data worker; torch ends it when its parent process is gone."""
    # A terminal sends Ctrl-C to all processes; the run needs its workers until it has saved.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A shutdown sends SIGTERM to all; a worker that hangs must still end.
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(WORKER_GRACE_SECONDS))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
