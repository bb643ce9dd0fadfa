"""Ctrl-C before a command has begun, or a server listens for it: the process ends at once, as SIGTERM ends it then.

Python's own way is an exception, wherever the main thread is. While modules are imported and models loaded, that may be
where nobody lets it through (a finalizer, a callback from C, an import that is tried): it is printed, and the start
goes on.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def heard_at_once() -> Iterator[None]:
    """While the block runs, unless somebody has chosen otherwise before, or does in it (as a server that listens)."""
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
