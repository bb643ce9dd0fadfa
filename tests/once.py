"""Files that are made once for a run of the tests and shared by its processes."""

import os
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

FOLDER = "TESTS_SHARED_FOLDER"  # environment variable, set by tests/conftest.py


def made(name: str, make: Callable[[Path], object]) -> Path:
    """A file or folder of the run; processes that need it while it is being made wait. Never write into it.

    Args:
        name: of the file or folder.
        make: writes it at the path that it is called with.
    """
    folder = Path(os.environ[FOLDER])
    path = folder / name
    with FileLock(folder / f"{name}.lock"):
        if not path.exists():
            unfinished = folder / f"unfinished-{name}"
            make(unfinished)
            unfinished.rename(path)
    return path
