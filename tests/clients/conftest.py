"""Two real servers for all tests that do not end them, and a client."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from lexiseg_client import Client
from lexiseg_service.gateway.admission.keys import line_of
from tests.integration.server import Server

KEY = "right"


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("server") / "log.jsonl") as running:
        yield running


@pytest.fixture(scope="session")
def narrow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Asks for a key, takes one request at a time and few a second, and forgets every image at once."""
    folder = tmp_path_factory.mktemp("narrow")
    (folder / "keys.txt").write_text(line_of("camera", KEY))
    settings = {
        "LEXISEG_API_KEYS_FILE": str(folder / "keys.txt"),
        "LEXISEG_QUEUE_LIMIT": "1",
        "LEXISEG_RATE_LIMIT": "20",
        "LEXISEG_RATE_BURST": "2",
        "LEXISEG_FEATURE_CACHE_BYTES": "0",
    }
    with Server(folder / "log.jsonl", **settings) as running:
        yield running


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client(server.url) as client:
        yield client


def grpc_target(server: Server) -> str:
    """HOST:PORT of a server's gRPC."""
    found = re.search(r"gRPC on localhost:(\d+)", server.greeting)
    assert found, server.greeting
    return f"127.0.0.1:{found[1]}"


@pytest.fixture
def target(server: Server) -> str:
    return grpc_target(server)
