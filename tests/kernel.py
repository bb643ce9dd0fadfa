"""The compiled kernel for tests: built where it is missing, and left aside where numpy's way is asked for."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from benchmarks.kernel import kernel_disabled
from lexiseg_model.kernel import library
from tests.command import ended

ROOT = Path(__file__).resolve().parent.parent
T = TypeVar("T")


def require_kernel() -> None:
    """Builds the kernel in place if a tree was checked out without an installation; without a compiler, skips."""
    if library.ready():
        return
    command = [sys.executable, "setup.py", "-q", "build_ext", "--inplace", "--force"]
    built = ended(command, cwd=ROOT / "model", env={**os.environ, "PYTHONWARNINGS": "default"})
    library.LIBRARY = library.load()
    if not library.ready():
        pytest.skip(f"the kernel cannot be compiled here: {built.stderr[-500:]}")


def both_ways(work: Callable[[], T]) -> tuple[T, T]:
    """What comes out compiled, and by numpy."""
    assert library.ready()
    compiled = work()
    with kernel_disabled():
        return compiled, work()
