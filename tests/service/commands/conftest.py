from __future__ import annotations

import pytest

from tests.service.commands.command_line import CommandLine


@pytest.fixture
def lexiseg(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    monkeypatch.setenv("COLUMNS", "120")
    return CommandLine(monkeypatch, capsys)
