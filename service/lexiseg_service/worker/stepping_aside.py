"""Threads that compute step aside for those that answer.

On a busy machine there are more threads that want to run than cores. The event loop, which answers probes and refuses
what is too much, would wait in line with those that decode, encode and make masks: for a tenth of a second and more, of
which it needs milliseconds. So these are nicer, to it and to everybody else.

The thread that owns the device is less nice than the other ones: everybody waits for it, who asks for little as well,
and masks of large pictures would take a core from it.

A nice thread that holds the interpreter's lock and has no core keeps the event loop from its own. So a thread that runs
much Python is not nice itself: it has others beside it that are, and that do what needs no lock.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from lexiseg_model.kernel import aside, library

NICER = 5  # of 19: beside one that is not, such a thread gets a quarter of a core
NICEST = 11  # beside one that owns the device, a fifth


def step_aside(by: int = NICER) -> None:
    """The calling thread, and those that it will begin, are nicer by so much than the first of the process.

    Linux alone has a niceness of each thread, and shows its name: `top -H` tells who works.
    """
    if sys.platform.startswith("linux"):
        _show_name()
        with suppress(OSError):  # where it is forbidden, they stay as they are
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _niceness(by))


def compute_aside(by: int = NICER, prepare: Callable[[], object] = lambda: None) -> None:
    """The calling thread stays as it is, and has others beside it that step aside: calls of the kernel are done there,
    and what is handed over with `lexiseg_model.kernel.aside`.

    Args:
        by: how much nicer they are than the first thread of the process.
        prepare: run once here, and once where Python runs beside.
    """

    def begin() -> None:
        step_aside(by)
        prepare()

    prepare()
    if sys.platform.startswith("linux"):
        _show_name()  # theirs, too
        library.go_aside(_niceness(by))
        aside.go_aside(begin)


def _niceness(by: int) -> int:
    """Threads begin as nice as who began them, which may have stepped aside: the first is what counts."""
    return os.getpriority(os.PRIO_PROCESS, os.getpid()) + by


def _show_name() -> None:
    if threading.current_thread() is not threading.main_thread():  # whose name is that of the process
        with suppress(OSError):
            Path(f"/proc/self/task/{threading.get_native_id()}/comm").write_text(threading.current_thread().name)
