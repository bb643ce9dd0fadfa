"""Threads that compute step aside for those that answer.

On a busy machine there are more threads that want to run than cores. The event loop, which answers probes and refuses
what is too much, would wait in line with those that decode, encode and make masks: for a tenth of a second and more, of
which it needs milliseconds. So these are nicer, to it and to everybody else.
"""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress

NICER = 5  # of 19: beside one that is not, such a thread gets a quarter of a core


def step_aside() -> None:
    """The calling thread, and those that it will begin, are nicer than the first of the process.

    Linux alone has a niceness of each thread.
    """
    if sys.platform.startswith("linux"):
        # Threads begin as nice as who began them, which may have stepped aside.
        nice = os.getpriority(os.PRIO_PROCESS, os.getpid()) + NICER
        with suppress(OSError):  # where it is forbidden, they stay as they are
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), nice)
