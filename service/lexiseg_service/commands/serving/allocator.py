"""What the C library does with memory that was freed: it keeps it, in up to eight arenas for each core.

A server's threads pass large buffers on to each other: one decodes, another computes, a third makes the answer. Each
arena then grows to the largest that ever lay in it, and a process to a multiple of what it holds. With two arenas it
stays nearer to that, and nearer still when it is told now and then to hand back what lies free between what is used.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

ARENAS = 2
ARENA_MAX = -8  # M_ARENA_MAX of malloc.h
BETWEEN_SECONDS = 5.0  # two times that memory is handed back; each takes a few milliseconds
CHOSEN = "MALLOC_ARENA_MAX"  # in the environment: whoever sets it has chosen


def bound_arenas() -> bool:
    """Bounds the arenas of this process, early: those that are there stay.

    Returns:
        False where the environment has chosen, or where the C library knows no arenas.
    """
    if not sys.platform.startswith("linux") or CHOSEN in os.environ:
        return False
    try:
        return bool(ctypes.CDLL(None).mallopt(ARENA_MAX, ARENAS))
    except (OSError, AttributeError):  # musl has one heap, and no such function
        return False


@contextmanager
def handing_back(seconds: float = BETWEEN_SECONDS) -> Iterator[bool]:
    """While it lasts, what the C library holds free goes back to the system, again and again, beside all other work.

    Gives False where the C library knows nothing of it.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform.startswith("linux") else None
    if trim is None:
        yield False
        return
    over = threading.Event()

    def work() -> None:
        while not over.wait(seconds):
            trim(0)  # without the interpreter's lock

    thread = threading.Thread(target=work, name="memory", daemon=True)
    thread.start()
    try:
        yield True
    finally:
        over.set()
        thread.join()
