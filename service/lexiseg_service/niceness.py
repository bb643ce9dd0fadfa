"""How much a thread steps aside for others. Linux alone has a niceness of each thread."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

NICER = 5  # of 19: beside one that is not, such a thread gets a quarter of a core
NICEST = 11  # beside one that owns the device, a fifth


def step_aside(by: int = NICER) -> None:
    """The calling thread, and those that it will begin, are nicer by so much than the first of the process.

    Their names are shown, too: `top -H` tells who works.
    """
    if sys.platform.startswith("linux"):
        show_name()
        with suppress(OSError):  # where it is forbidden, they stay as they are
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), niceness(by))


def others_step_aside(names: Collection[str], by: int = NICER) -> None:
    """Threads that a library has begun by itself, and those that they will begin, by the names the system knows."""
    with suppress(OSError):  # another system, or forbidden: they stay as they are
        for task in Path("/proc/self/task").iterdir():
            with suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
                if (task / "comm").read_text().rstrip("\n") in names:
                    os.setpriority(os.PRIO_PROCESS, int(task.name), niceness(by))


def niceness(by: int) -> int:
    """Threads begin as nice as who began them, which may have stepped aside: the first is what counts."""
    return os.getpriority(os.PRIO_PROCESS, os.getpid()) + by


def show_name() -> None:
    """Has the system know the calling thread's name."""
    if threading.current_thread() is not threading.main_thread():  # whose name is that of the process
        with suppress(OSError):
            Path(f"/proc/self/task/{threading.get_native_id()}/comm").write_text(threading.current_thread().name)
