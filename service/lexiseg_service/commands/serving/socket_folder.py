"""The folder of the sockets between the processes of `lexiseg serve`, in the system's folder for temporary files.

Programs that tidy up there skip a locked folder. A lock ends with the processes that hold it, also when they are
killed, so a folder without one is removed at the next start.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

import structlog

from lexiseg_service.errors import NotReady

logger = structlog.get_logger("lexiseg.serve")
PREFIX = "lexiseg-serve-"


class SocketFolder:
    """A new folder that only this user may enter; folders of killed services are removed."""

    def __init__(self) -> None:
        root = Path(tempfile.gettempdir())
        for stale in root.glob(f"{PREFIX}*"):
            _remove_unlocked(stale)
        draft = Path(tempfile.mkdtemp(prefix="lexiseg-new-"))
        self._lock = _locked(draft)
        # Locked before it has the name that others look for.
        self.path = draft.rename(root / (PREFIX + draft.name.rpartition("-")[2]))
        self._sockets: set[Path] = set()  # sockets that were there
        self._renewed: Path | None = None  # a socket that its process was told to make again

    def is_lost(self, socket: Path) -> bool:
        """Whether the socket of a running process was removed; then its folder is there again.

        One process is told at a time, so that the others go on answering: their connections outlive the sockets.
        """
        if socket.exists():
            self._sockets.add(socket)
            if socket == self._renewed:
                self._renewed = None
            return False
        if socket not in self._sockets or self._renewed is not None:
            return False
        logger.error("socket was removed", socket=socket.name)
        self._sockets.discard(socket)
        self._renewed = socket
        self._restore()
        return True

    def remove(self) -> None:
        """Remove it with all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _restore(self) -> None:
        with suppress(FileExistsError):
            self.path.mkdir(mode=0o700)
            os.close(self._lock)
            self._lock = _locked(self.path)
        if self.path.lstat().st_uid != os.getuid():
            raise NotReady(f"{self.path} was removed and belongs to another user now")


def _locked(folder: Path) -> int:
    """A descriptor that holds the lock of a folder. Raises BlockingIOError: another process has it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _remove_unlocked(folder: Path) -> None:
    with suppress(OSError):  # it is in use, another user's, or gone
        lock = _locked(folder)
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)
