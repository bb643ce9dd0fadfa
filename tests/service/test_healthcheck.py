"""The containers' health check against a real port."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from lexiseg_service.healthcheck import main


@contextmanager
def answering(status: int) -> Iterator[int]:
    """A server that answers /readyz with a status; gives its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/readyz" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()
    thread.join(5)


def test_a_ready_service_is_healthy() -> None:
    with answering(200) as port:
        assert main(str(port)) == 0


def test_a_service_that_is_not_ready_is_not_healthy(capsys: pytest.CaptureFixture[str]) -> None:
    with answering(503) as port:
        assert main(str(port)) == 1
    assert "503" in capsys.readouterr().err


def test_nobody_there_is_not_healthy(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        assert main(str(free.getsockname()[1])) == 1
    assert "not ready" in capsys.readouterr().err
