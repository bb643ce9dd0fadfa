"""Fixtures and hooks of all tests."""

import gc
import os
import signal
import sys
from collections.abc import Generator, Iterator
from unittest import mock

import pytest
import structlog
import trustme
from hypothesis import HealthCheck, settings

from lexiseg_service.entry_points import ADAPTERS, entry_points_of
from tests import once, processes
from tests.command import FREE_PORTS, refuse_default_ports
from tests.integration.server import Server

# A service may run beside the tests: they and what they start take other ports than it does.
os.environ |= FREE_PORTS
sys.addaudithook(refuse_default_ports)

# A command that a script starts in the background ignores Ctrl-C, and so would all that it starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Tests assert results; speed belongs to the benchmarks.
settings.register_profile("lexiseg", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("lexiseg")

# structlog's default prints the values of local variables with a traceback, which takes minutes where they are images.
structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
    ]
)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep modules and tests out of garbage collections, each of which would pass through all of them."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        processes.keep()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, object, object]:
    """With a folder's last test goes what its tests shared; what is left then stays, as modules that they imported."""
    answer = yield
    if nextitem is None or nextitem.path.parent != item.path.parent:
        once.let_go()
        processes.keep()
    return answer


@pytest.fixture(scope="session", autouse=True)
def _shared_folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The folder of `tests/once.py`: one for all processes of a run."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"
    folder.mkdir(exist_ok=True)
    os.environ[once.FOLDER] = str(folder)


@pytest.fixture(scope="session", autouse=True)
def real_environment(_shared_folder: None) -> Iterator[dict[str, str]]:
    """Let HTTP clients load one certificate authority: the system's take 17 ms for each client.

    Yields the environment without that, for a fetch from a registry.
    """
    authority = once.made("authority.pem", trustme.CA().cert_pem.write_to_path)
    before = dict(os.environ)
    with mock.patch.dict(os.environ, {"SSL_CERT_FILE": str(authority)}):
        yield before


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One real server for all tests that do not end it, with every adapter, jobs, and for pages of all sites."""
    folder = tmp_path_factory.mktemp("server")
    settings = {"LEXISEG_ADAPTERS": ",".join(entry_points_of(ADAPTERS)), "LEXISEG_CORS_ORIGINS": "*"}
    jobs = {"LEXISEG_JOBS": "true", "LEXISEG_STATE_DIR": str(folder), "LEXISEG_JOB_FOLDERS": str(folder.parent)}
    with Server(folder / "log.jsonl", LEXISEG_MCP_FOLDER=str(folder.parent), **settings, **jobs) as running:
        yield running
