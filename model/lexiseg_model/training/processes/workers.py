"""Processes that make batches end with the one that takes them, however that ends."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from functools import partial

PATIENCE = 30  # seconds that a worker lives on after SIGTERM, while its run ends the step and saves
PR_SET_PDEATHSIG = 1  # linux/prctl.h


def die_with_parent(parent: int, by: signal.Signals = signal.SIGKILL) -> None:
    """The kernel sends `by` to this process when process `parent`, which started it, ends.

    Elsewhere than on Linux nothing is done: torch's workers then notice after some seconds.
    """
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, by)
    if os.getppid() != parent:  # it ended before it could be watched
        os.kill(os.getpid(), by)


def begin_worker() -> Callable[[int], None]:
    """What a worker of this process does first."""
    return partial(_begin, os.getpid())


def _end_later(number: int, frame: object) -> None:
    signal.alarm(PATIENCE)


def _begin(parent: int, worker: int) -> None:
    # Ctrl-C goes to all processes of a terminal: the run saves first, and needs its workers until then.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # So does SIGTERM where a machine shuts down; but a worker that hangs must not keep its run from ending.
    signal.signal(signal.SIGTERM, _end_later)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    die_with_parent(parent)
