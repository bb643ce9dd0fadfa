"""A gateway of narrow bounds beside the server of all tests, and a client."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from lexiseg_client import Client
from lexiseg_service.gateway.admission.key_file import line_of
from tests import pictures
from tests.integration.server import Server
from tests.service.gateway.known_backend import KnownBackend
from tests.service.gateway.serving import Ports, on_ports

KEY = "right"
LONG = 60.0  # seconds; a place is not kept for ever where a test forgets to free it


@pytest.fixture(scope="session")
def narrow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ports]:
    """Asks for a key, and takes one request of it at a time.

    No rate: whether a request comes too soon after the last would depend on how quick the machine is.
    """
    keys = tmp_path_factory.mktemp("narrow") / "keys.txt"
    keys.write_text(line_of("camera", KEY))
    with on_ports(KnownBackend(), api_keys_file=keys, concurrency_limit=1) as ports:
        yield ports


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client(server.url) as client:
        yield client


@pytest.fixture
def target(server: Server) -> str:
    return server.grpc


@pytest.fixture
def dead() -> Iterator[str]:
    """HOST:PORT where connections are refused."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # and does not listen
        yield f"127.0.0.1:{bound.getsockname()[1]}"


@contextmanager
def taken(server: Ports) -> Iterator[threading.Event]:
    """Holds the one place of the narrow server by a stream, until the event is set."""
    free = threading.Event()
    frame = pictures.encoded(pictures.small("china", 64), "JPEG")

    def frames() -> Iterator[bytes]:
        yield frame
        free.wait(LONG)

    with Client(server.url, api_key=KEY, grpc_target=server.grpc) as holder:
        answers = holder.stream(frames(), ["sky"])
        next(answers)
        try:
            yield free
        finally:
            free.set()
            assert not list(answers)
