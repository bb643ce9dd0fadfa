"""A client of the real server, and the command line in this process."""

from collections.abc import Iterator

import httpx
import pytest

from tests.integration.server import Server
from tests.service.commands.command_line import CommandLine
from tests.waiting import SOON


@pytest.fixture(scope="session")
def client(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=SOON) as client:
        yield client


@pytest.fixture
def lexiseg(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(monkeypatch, capsys)
