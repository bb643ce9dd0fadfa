"""Lines to a reader that may stop reading: nobody who writes one waits for it.

A pipe whose reader stands still takes 64 KiB; who writes on then waits until it reads again, and with him, on an event
loop, every request and every probe.
"""

from __future__ import annotations

import atexit
import io
import os
import select
import sys
import time
from collections import deque
from typing import TextIO

AT_ONCE = getattr(select, "PIPE_BUF", 512)  # bytes that what says it takes some takes without waiting (POSIX)
MOST_WAITING = 4 * 2**20  # bytes
LAST_SECONDS = 1.0  # at the end of the process, for what waits


class PatientStream:
    """Writes to a file what it takes, and keeps the rest until the next line; beyond a bound lines are lost, and told.

    Args:
        file: a descriptor.
    """

    def __init__(self, file: int) -> None:
        self._file = file
        self._waiting: deque[bytes] = deque()
        self._n_waiting = 0
        self._lost = 0

    def write(self, text: str) -> None:
        """Takes lines."""
        content = text.encode("utf-8", "backslashreplace")
        if self._n_waiting + len(content) > MOST_WAITING:
            self._lost += 1
            return
        if self._lost and not self._waiting:
            content = f"{self._lost} lines are lost: nobody read them in time\n".encode() + content
            self._lost = 0
        self._waiting.append(content)
        self._n_waiting += len(content)

    def flush(self) -> None:
        """Writes what is taken now."""
        while self._waiting and select.select((), (self._file,), (), 0)[1]:
            self._write_some()

    def finish(self, seconds: float = LAST_SECONDS) -> None:
        """Writes what is taken within so many seconds."""
        until = time.monotonic() + seconds
        while self._waiting and select.select((), (self._file,), (), max(0.0, until - time.monotonic()))[1]:
            self._write_some()

    def _write_some(self) -> None:
        first = self._waiting.popleft()
        try:
            n_written = os.write(self._file, first[:AT_ONCE])
        except OSError:  # nobody will ever read it, or there is no room for it
            n_written = len(first)
        self._n_waiting -= n_written
        if n_written < len(first):
            self._waiting.appendleft(first[n_written:])


def patient(stream: TextIO) -> TextIO | PatientStream:
    """A stream that keeps nobody waiting, in place of one that writes to a descriptor; any other as it is."""
    try:
        file = stream.fileno()
    except (io.UnsupportedOperation, AttributeError, ValueError):
        return stream
    if sys.platform == "win32":  # which tells of nothing but sockets whether they take anything
        return stream
    ours = PatientStream(file)
    atexit.register(ours.finish)
    return ours
