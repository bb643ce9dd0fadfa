"""Ctrl-C during the start."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from lexiseg_service import cli
from lexiseg_service.commands.serving import app

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no process ends of a signal there")
# Where an exception of Python's own is printed, and lost.
PROGRAM = """
import signal
from lexiseg_service.commands.interrupts import heard_at_once

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have had it ignored for the tests

class Dying:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)

with heard_at_once():
    Dying()
    print("the start goes on")
"""

IMPORTS = """
import signal, sys

signal.signal(signal.SIGINT, signal.default_int_handler)

class Interrupting:
    def find_spec(self, name, *_):
        if name == "typer":
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, Interrupting())
import lexiseg_service.cli
"""


@pytest.mark.parametrize("program", [PROGRAM, IMPORTS], ids=["a server's start", "imports of the command line"])
def test_a_start_ends_wherever_it_is_interrupted(program: str) -> None:
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert (run.returncode, run.stdout, run.stderr) == (-signal.SIGINT, "", "")


@pytest.mark.parametrize("command", ["serve", "gateway", "worker"])
def test_every_server_starts_like_that(monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    seen: list[object] = []

    def refuse(*_: object) -> None:
        seen.append(signal.getsignal(signal.SIGINT))
        raise SystemExit(3)

    monkeypatch.setattr(app, "refuse_taken", refuse)
    monkeypatch.setattr(sys, "argv", ["lexiseg", command, *(["--workers", "x:1"] if command == "gateway" else [])])
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(SystemExit):
            cli.main()

        assert seen == [signal.SIG_DFL]
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
