"""What holds for every test."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import structlog
from hypothesis import settings

TESTS = Path(__file__).resolve().parent
# A slow machine is no failure: what is right is asserted, how fast it is belongs to the benchmarks.
settings.register_profile("lexiseg", deadline=None)
settings.load_profile("lexiseg")

# Where a test sets up no logs of its own: structlog's default prints the values of local variables, which takes minutes
# when these are images.
structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
    ]
)


def give_back() -> None:
    """To the system, what C's library has free; it keeps that for itself otherwise."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """What functions of a file remember (`functools.cache`: weights, models) ends with the file, what others remember
    with the folder. Else a process that goes through all of them holds all of them at its end.
    """
    if nextitem is not None and nextitem.path == item.path:
        return
    goes_on = nextitem is not None and nextitem.path.parent == item.path.parent
    full = list(_memories(item.path if goes_on else TESTS))
    for forget in full:
        forget()
    if full:
        gc.collect()
        give_back()


def _memories(place: Path) -> Iterator[Callable[[], None]]:
    for module in list(sys.modules.values()):
        if (path := getattr(module, "__file__", None)) is not None and Path(path).is_relative_to(place):
            for value in list(vars(module).values()):
                if hasattr(value, "cache_info") and value.__module__ == module.__name__ and value.cache_info().currsize:
                    yield value.cache_clear
