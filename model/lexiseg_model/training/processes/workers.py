"""Processes that make batches end with the one that takes them, however that ends."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from functools import partial

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


def _begin(parent: int, worker: int) -> None:
    # Ctrl-C goes to all processes of a terminal: the run saves first, and needs its workers until then.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # not the run's own handler, which a fork takes along
    die_with_parent(parent)
