"""Threads that compute step aside for those that answer.

On a busy machine there are more threads that want to run than cores. The event loop, which answers probes and refuses
what is too much, would wait in line with those that decode, encode and make masks: for a tenth of a second and more, of
which it needs milliseconds. So these are nicer, to it and to everybody else.

The thread that owns the device is less nice than the other ones: everybody waits for it, who asks for little as well,
and masks of large pictures would take a core from it.
"""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress
from pathlib import Path

NICER = 5  # of 19: beside one that is not, such a thread gets a quarter of a core
NICEST = 11  # beside one that owns the device, a fifth


def step_aside(by: int = NICER) -> None:
    """The calling thread, and those that it will begin, are nicer by so much than the first of the process.

    Linux alone has a niceness of each thread, and shows its name: `top -H` tells who works.
    """
    if sys.platform.startswith("linux"):
        _show_name()
        # Threads begin as nice as who began them, which may have stepped aside.
        nice = os.getpriority(os.PRIO_PROCESS, os.getpid()) + by
        with suppress(OSError):  # where it is forbidden, they stay as they are
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), nice)


def _show_name() -> None:
    if threading.current_thread() is not threading.main_thread():  # whose name is that of the process
        with suppress(OSError):
            Path(f"/proc/self/task/{threading.get_native_id()}/comm").write_text(threading.current_thread().name)
