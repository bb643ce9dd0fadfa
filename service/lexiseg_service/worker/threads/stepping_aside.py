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

import sys
from collections.abc import Callable

from lexiseg_model.kernel import aside, library
from lexiseg_service.niceness import NICER, niceness, show_name, step_aside


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
        show_name()  # theirs, too
        library.go_aside(niceness(by))
        aside.go_aside(begin)
