"""The containers' health check against a real port."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from lexiseg_service.healthcheck import main
from tests.http_server import Quiet, serving


@contextmanager
def answering(status: int) -> Iterator[int]:
    """A server that answers /readyz with a status; gives its port."""

    class Handler(Quiet):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/readyz" else 404)
            self.end_headers()

    with serving(Handler) as url:
        yield int(url.rpartition(":")[2])


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
