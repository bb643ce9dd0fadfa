"""What is made once for a run of the tests, however many processes share it: files in a folder of the run.

`tests/conftest.py` opens that folder for each process; who leaves last removes it.
"""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

USERS = ".users"  # locked by each process that has the folder open
_open: list[Path] = []


@contextmanager
def opened(folder: Path) -> Iterator[None]:
    """Lets `made` use a folder, which other processes may have open, too."""
    folder.mkdir(exist_ok=True)
    with (folder / USERS).open("w") as users:
        fcntl.flock(users, fcntl.LOCK_SH)
        _open.append(folder)
        try:
            yield
        finally:
            _open.remove(folder)
            try:
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            shutil.rmtree(folder)


def made(name: str, make: Callable[[Path], object]) -> Path:
    """A file or a folder of the run; whoever needs it while it is being made waits. Shared: never write into it.

    Args:
        name: of it.
        make: writes it at the path that it is given; called by whoever needs it first.
    """
    path = _open[-1] / name
    with (_open[-1] / f".{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            unfinished = path.with_name(f"unfinished-{name}")
            make(unfinished)
            unfinished.rename(path)
    return path
