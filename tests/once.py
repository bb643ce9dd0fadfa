"""What is made once: files for a run of the tests, shared by its processes; values for the tests of a folder."""

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import ParamSpec, TypeVar, cast

from filelock import FileLock

FOLDER = "TESTS_SHARED_FOLDER"  # environment variable, set by tests/conftest.py

Arguments = ParamSpec("Arguments")
Made = TypeVar("Made")

_forget: list[Callable[[], None]] = []


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


def kept(make: Callable[Arguments, Made]) -> Callable[Arguments, Made]:
    """`functools.cache` until the tests of another folder begin: models and features of all are gigabytes."""
    made = cache(make)
    _forget.append(made.cache_clear)
    return cast(Callable[Arguments, Made], made)


def let_go() -> None:
    """Forget what is `kept`; the next call makes it again."""
    for forget in _forget:
        forget()
