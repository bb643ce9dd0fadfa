"""Record of the images that crashed a worker in decoding, so that one that did so twice within a minute is refused.

A worker notes the ids of the images it is decoding in a file next to its socket. When the process dies of a crash, its
supervisor adds them to the record that all workers of the machine read. The file is mapped into memory: a crash keeps
what was noted, and noting takes no system call, during which another thread would get the GIL.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from mmap import mmap
from pathlib import Path

from lexiseg_service.errors import UndecodableImage

# SIGKILL is not one of them: it is the operator's, or the system's when memory is short.
CRASHES = frozenset({signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL, signal.SIGFPE})
WINDOW_SECONDS = 60.0
RECORD = "crashes"
PLACE_BYTES = 33  # an id and a space
PLACES = 64  # more than threads that decode


class CrashRecord:
    """The record of one worker; the files lie in the folder of its socket."""

    def __init__(self, socket: Path) -> None:
        self._record = socket.with_name(RECORD)
        file = _decoding_file(socket)
        file.write_bytes(b" " * PLACES * PLACE_BYTES)
        with file.open("r+b") as opened:
            self._decoding = mmap(opened.fileno(), 0)
        self._free = list(range(0, PLACES * PLACE_BYTES, PLACE_BYTES))

    @contextmanager
    def decoding(self, image_id: str) -> Iterator[None]:
        """Note that an image is being decoded, for as long as the block runs."""
        if self._record.exists() and _is_refused(self._record, image_id):
            raise UndecodableImage("image: this file has crashed its decoder twice within a minute; it is refused")
        place = self._free.pop()
        self._decoding[place : place + PLACE_BYTES] = f"{image_id:{PLACE_BYTES}}".encode("ascii")
        try:
            yield
        finally:
            self._decoding[place : place + PLACE_BYTES] = b" " * PLACE_BYTES
            self._free.append(place)


def record_crash(socket: Path, status: int, now: float) -> None:
    """Add the images that a worker was decoding to the record, if it crashed; a negative `status` is its signal."""
    file = _decoding_file(socket)
    if -status in CRASHES and file.exists():
        with socket.with_name(RECORD).open("a", encoding="ascii") as record:
            record.writelines(f"{now} {image_id}\n" for image_id in set(file.read_text("ascii").split()))


def _decoding_file(socket: Path) -> Path:
    return socket.with_name(f"{socket.name}.decoding")


def _is_refused(record: Path, image_id: str) -> bool:
    lines = [line.split() for line in record.read_text("ascii").splitlines()]
    times = [float(at) for at, crashed in lines if crashed == image_id]
    return any(later - earlier <= WINDOW_SECONDS for earlier, later in pairwise(times))
