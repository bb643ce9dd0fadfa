"""Record of the images whose decoding crashed a worker, so that one that did so twice within a minute is refused.

A worker writes the ids of the images it is decoding to a file beside its socket. When the process dies of a crash, its
supervisor adds them to the record that all workers of the machine read.
"""

from __future__ import annotations

import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

from lexiseg_service.errors import UndecodableImage

# SIGKILL is not one of them: it is the operator's, or the system's when memory is short.
CRASHES = frozenset({signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL, signal.SIGFPE})
WINDOW_SECONDS = 60.0
RECORD = "crashes"


class CrashRecord:
    """The record of one worker.

    Args:
        socket: the worker's socket; the files lie in the same folder.
    """

    def __init__(self, socket: Path) -> None:
        self._record = socket.with_name(RECORD)
        self._file = _decoding_file(socket)
        self._decoding: Counter[str] = Counter()
        self._guard = threading.Lock()

    @contextmanager
    def decoding(self, image_id: str) -> Iterator[None]:
        """Note that an image is being decoded, for as long as the block runs.

        Raises:
            UndecodableImage: it crashed a worker twice within a minute.
        """
        if self._record.exists() and _is_refused(self._record, image_id):
            raise UndecodableImage("image: this file has crashed its decoder twice within a minute; it is refused")
        self._change(image_id, 1)
        try:
            yield
        finally:
            self._change(image_id, -1)

    def _change(self, image_id: str, by: int) -> None:
        with self._guard:
            self._decoding[image_id] += by
            self._decoding = +self._decoding  # without those that have ended
            self._file.write_text("\n".join(self._decoding), "ascii")


def record_crash(socket: Path, status: int, now: float) -> None:
    """Add the images that a worker was decoding to the record, if it crashed.

    Args:
        socket: the worker's socket.
        status: of its end; negative is the signal that ended it.
        now: seconds.
    """
    file = _decoding_file(socket)
    if -status in CRASHES and file.exists():
        with socket.with_name(RECORD).open("a", encoding="ascii") as record:
            record.writelines(f"{now} {image_id}\n" for image_id in file.read_text("ascii").split())


def _decoding_file(socket: Path) -> Path:
    return socket.with_name(f"{socket.name}.decoding")


def _is_refused(record: Path, image_id: str) -> bool:
    lines = [line.split() for line in record.read_text("ascii").splitlines()]
    times = [float(at) for at, crashed in lines if crashed == image_id]
    return any(later - earlier <= WINDOW_SECONDS for earlier, later in pairwise(times))
