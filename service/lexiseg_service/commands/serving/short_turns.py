"""The event loop's thread asks for short turns on a core: it gets them soon.

It works for moments and then waits for the next message. By itself Linux lets whoever has a core finish a turn of some
milliseconds first, however little the next one needs. Who asks for short turns comes in between, as long as it takes no
more than its share; so everybody may ask. Linux listens since 6.12; before, and elsewhere, nothing changes.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys

TURN = 100_000  # nanoseconds, as short as may be asked for
NUMBERS = {"x86_64": 314, "aarch64": 274}  # of the call, for which older C libraries have no function
FOR_THIS_THREAD_ALONE = 1  # SCHED_FLAG_RESET_ON_FORK: threads that it begins have turns as usual
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


def take_short_turns() -> bool:
    """Asks for them, for the calling thread.

    Returns:
        Whether the system took it; an old one does and changes nothing.
    """
    number = NUMBERS.get(platform.machine())
    if not sys.platform.startswith("linux") or number is None or os.sched_getscheduler(0) != ORDINARY:
        return False
    niceness = os.getpriority(os.PRIO_PROCESS, 0)  # as it is
    wanted = Attributes(ctypes.sizeof(Attributes), ORDINARY, FOR_THIS_THREAD_ALONE, niceness, 0, TURN)
    return bool(ctypes.CDLL(None).syscall(number, 0, ctypes.byref(wanted), 0) == 0)
