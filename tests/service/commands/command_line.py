"""`lexiseg ...` in this process, as the shell sees it."""

from __future__ import annotations

import sys
from typing import NamedTuple

import pytest

from lexiseg_service.cli import main


class Outcome(NamedTuple):
    """Exit status, and what was printed where."""

    status: int
    out: str
    err: str


class CommandLine:
    """Runs commands through the real entry point."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def __call__(self, *words: object) -> Outcome:
        self._monkeypatch.setattr(sys, "argv", ["lexiseg", *map(str, words)])
        self._capsys.readouterr()
        try:
            main()
        except SystemExit as leaving:
            status = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
        else:
            status = 0
        return Outcome(status, *self._capsys.readouterr())
