"""Signals and process lifetime: graceful stop on SIGTERM and Ctrl-C, data workers that end with their run."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable
from functools import partial
from types import FrameType, TracebackType
from typing import Any

STOPPING = (signal.SIGTERM, signal.SIGINT)
GRACE_SECONDS = 2.0  # a signal to all processes of a run reaches them one after the other
WORKER_GRACE_SECONDS = 30  # lifetime of a worker after SIGTERM, while its run ends the step and saves
PR_SET_PDEATHSIG = 1  # linux/prctl.h


class Stops:
    """Context manager: the first signal only sets `requested`; a second Ctrl-C interrupts."""

    def __init__(self) -> None:
        self._requested = threading.Event()
        self._before: dict[signal.Signals, Any] = {}
        self.by = ""  # name of the signal

    @property
    def requested(self) -> bool:
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


def die_with_parent(parent: int, by: signal.Signals = signal.SIGKILL) -> None:
    """Have Linux send `by` to this process when its parent process ends; elsewhere do nothing."""
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, by)
    if os.getppid() != parent:  # it ended before the call
        os.kill(os.getpid(), by)


def begin_worker() -> Callable[[int], None]:
    """An initialiser for data workers of this process."""
    return partial(_begin, os.getpid())


def _begin(parent: int, worker: int) -> None:
    # A terminal sends Ctrl-C to all processes; the run needs its workers until it has saved.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A shutdown sends SIGTERM to all; a worker that hangs must still end.
    signal.signal(signal.SIGTERM, _end_later)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    die_with_parent(parent)


def _end_later(number: int, frame: object) -> None:
    signal.alarm(WORKER_GRACE_SECONDS)
