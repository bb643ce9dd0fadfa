"""Ctrl-C during the start of a command ends the process at once, as SIGTERM does.

KeyboardInterrupt is raised wherever the main thread is. In a finalizer, a callback from C or a guarded import it is
printed and lost, and the start continues.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def heard_at_once() -> Iterator[None]:
    """End at once while the block runs, unless another handler was set before, or is set in it (by a server)."""
    ours = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )
    if ours:
        # The first process of a container has no default action.
        signal.signal(signal.SIGINT, signal.SIG_DFL if os.getpid() != 1 else _end)
    try:
        yield
    finally:
        if ours and signal.getsignal(signal.SIGINT) in (signal.SIG_DFL, _end):
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _end(number: int, _: object) -> None:
    os._exit(128 + number)
