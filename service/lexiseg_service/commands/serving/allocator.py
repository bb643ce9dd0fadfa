"""What the C library does with memory that was freed: it keeps it, in up to eight arenas for each core.

A server's threads pass large buffers on to each other: one decodes, another computes, a third makes the answer. Each
arena then grows to the largest that ever lay in it, and a process to a multiple of what it holds. With two arenas it
stays nearer to that.
"""

from __future__ import annotations

import ctypes
import os
import sys

ARENAS = 2
ARENA_MAX = -8  # M_ARENA_MAX of malloc.h
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
