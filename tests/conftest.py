"""What holds for every test."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import settings

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


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """What functions of a file remember (`functools.cache`: weights, models) ends with the file, those of a folder's
    other modules with the folder. Else a process that goes through all of them holds all of them at its end.
    """
    if nextitem is not None and nextitem.path == item.path:
        return
    folder = item.path.parent
    ended = {item.path} if nextitem is not None and nextitem.path.parent == folder else {*folder.glob("*.py")}
    full = list(_memories(ended))
    for forget in full:
        forget()
    if full:
        gc.collect()


def _memories(paths: set[Path]) -> Iterator[Callable[[], None]]:
    for module in list(sys.modules.values()):
        if (place := getattr(module, "__file__", None)) is not None and Path(place) in paths:
            for value in list(vars(module).values()):
                if hasattr(value, "cache_info") and value.__module__ == module.__name__ and value.cache_info().currsize:
                    yield value.cache_clear
