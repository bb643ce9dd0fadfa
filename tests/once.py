"""What is made once: files for a run of the tests, shared by its processes; values for the tests of a folder."""

import os
import shutil
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
    """A file or folder of the run, which `make` writes at a path; processes that need it meanwhile wait.

    Never write into it. Where `make` has failed, the next call begins anew.
    """
    folder = Path(os.environ[FOLDER])
    path = folder / name
    with FileLock(folder / f"{name}.lock"):
        if not path.exists():
            attempt = folder / f"unfinished-{name}"
            shutil.rmtree(attempt, ignore_errors=True)
            attempt.mkdir()
            make(attempt / name)
            (attempt / name).rename(path)
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
