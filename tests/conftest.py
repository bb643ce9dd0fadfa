"""What holds for every test."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import structlog
import trustme
from hypothesis import HealthCheck, settings

from tests import once
from tests.integration.server import Server

TESTS = Path(__file__).resolve().parent
newest: list[object] = []  # made when all was last set aside from garbage collection, and looked at ever since
# A slow machine is no failure: what is right is asserted, how fast it is belongs to the benchmarks.
settings.register_profile("lexiseg", deadline=None, suppress_health_check=[HealthCheck.too_slow])
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


@pytest.fixture(scope="session", autouse=True)
def _made_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """`tests/once.py` keeps what it makes beside the folders of all processes."""
    own = tmp_path_factory.getbasetemp()
    with once.opened((own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "once"):
        yield


@pytest.fixture(scope="session", autouse=True)
def _one_authority(_made_once: None) -> Iterator[None]:
    """Every HTTP client reads whom it would trust if it spoke TLS; of all of the system's authorities, for 17 ms."""
    one = once.made("authority.pem", trustme.CA().cert_pem.write_to_path)
    with mock.patch.dict(os.environ, {"SSL_CERT_FILE": str(one)}):
        yield


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One real server for all tests that do not end it."""
    with Server(tmp_path_factory.mktemp("server") / "log.jsonl") as running:
        yield running


def give_back() -> None:
    """To the system, what C's library has free; it keeps that for itself otherwise."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is loaded by then stays to the end: a million objects that no collection of garbage looks at any more."""
    gc.disable()
    try:
        return (yield)
    finally:
        _set_aside()
        gc.enable()


def _set_aside() -> None:
    """Everything that there is, from garbage collection."""
    global newest
    gc.freeze()
    newest = []


def _others_set_aside() -> bool:
    """Whether anybody has since then. To count what is aside takes longer: it looks at each of a million objects."""
    return all(thing is not newest for thing in gc.get_objects())


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where processes share the tests, in the order in which they take them."""
    if hasattr(config, "workerinput"):
        from tests.sharing import ordered

        items[:] = ordered(items)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """`--dist loadscope` shares them by the units of `tests/sharing.py`."""
    if config.getoption("dist") != "loadscope":
        return None
    from tests.sharing import ByUnit

    return ByUnit(config, log)


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
    if not goes_on:
        if _others_set_aside():  # a worker that gives up a model sets aside a test's own things, too
            gc.unfreeze()
        gc.collect()
        _set_aside()
    elif full:
        gc.collect()
    if full:
        give_back()


def _memories(place: Path) -> Iterator[Callable[[], None]]:
    below = str(place)
    for name, module in list(sys.modules.items()):
        if name.startswith("tests.") and (getattr(module, "__file__", None) or "").startswith(below):
            for value in list(vars(module).values()):
                if hasattr(value, "cache_info") and value.__module__ == module.__name__ and value.cache_info().currsize:
                    yield value.cache_clear
