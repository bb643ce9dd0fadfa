"""Threads that work for moments ask for short turns on a core, and get them soon; turns of Python's lock are short.

The event loop's thread works for moments and then waits for the next message; so do those that finish small requests.
By itself Linux lets whoever has a core finish a turn of some milliseconds first, however little the next one needs. Who
asks for short turns comes in between, as long as it takes no more than its share; so everybody may ask. Linux listens
since 6.12; before, and elsewhere, nothing changes.

Python lets whoever has its lock go on for 5 ms while another wants it. A small request wants it some five times, and
while megabytes of JSON are parsed in a thread it waits so long each time.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys

TURN = 100_000  # nanoseconds, as short as may be asked for
NUMBERS = {"x86_64": 314, "aarch64": 274}  # of the call, for which older C libraries have no function
FOR_THIS_THREAD_ALONE, ALSO_FOR_THOSE_IT_BEGINS = 1, 0  # with SCHED_FLAG_RESET_ON_FORK these have turns as usual
LOCK_TURN = 5e-4  # seconds
ORDINARY = 0  # SCHED_OTHER


class Attributes(ctypes.Structure):
    """`struct sched_attr` of linux/sched/types.h, as it was at first."""

    _fields_ = (
        ("size", ctypes.c_uint32),
        ("policy", ctypes.c_uint32),
        ("flags", ctypes.c_uint64),
        ("niceness", ctypes.c_int32),
        ("priority", ctypes.c_uint32),
        ("turn", ctypes.c_uint64),
        ("deadline", ctypes.c_uint64),
        ("period", ctypes.c_uint64),
    )


def shorten_turns_of_the_lock() -> None:
    """For all threads of the process."""
    sys.setswitchinterval(LOCK_TURN)


def take_short_turns(whose: int = FOR_THIS_THREAD_ALONE) -> bool:
    """Asks for them, for the calling thread.

    Returns:
        Whether the system took it; an old one does and changes nothing.
    """
    number = NUMBERS.get(platform.machine())
    if not sys.platform.startswith("linux") or number is None or os.sched_getscheduler(0) != ORDINARY:
        return False
    niceness = os.getpriority(os.PRIO_PROCESS, 0)  # as it is
    wanted = Attributes(ctypes.sizeof(Attributes), ORDINARY, whose, niceness, 0, TURN)
    return bool(ctypes.CDLL(None).syscall(number, 0, ctypes.byref(wanted), 0) == 0)
