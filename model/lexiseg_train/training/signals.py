"""Signals and process lifetime: graceful stop on SIGTERM and Ctrl-C, data workers that end with their run."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from lexiseg_model.command_line.signals import on_signals

STOPPING = (signal.SIGTERM, signal.SIGINT)
GRACE_SECONDS = 2.0  # a signal to all processes of a run reaches them one after the other
WORKER_GRACE_SECONDS = 30  # lifetime of a worker after SIGTERM, while its run ends the step and saves


class Stops:
    """Requests to stop; `with_parent`: also when the parent process, such as torchrun, is gone."""

    def __init__(self, with_parent: bool = False) -> None:
        self._parent = os.getppid() if with_parent else None
        self._requested = threading.Event()
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

    @contextmanager
    def by_signals(self) -> Iterator[None]:
        """The first signal in the block only sets `requested`; a second Ctrl-C interrupts."""
        with on_signals(self._request, *STOPPING):
            yield

    def _request(self, which: int, _: object) -> None:
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
