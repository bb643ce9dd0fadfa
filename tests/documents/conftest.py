"""A shell in a folder with the files that the documents name."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.command import FREE_PORTS
from tests.documents.files import lay_out
from tests.documents.reading import ROOT
from tests.integration.server import Server
from tests.service.commands.command_line import CommandLine
from tests.service.commands.conftest import model_read_once as model_read_once

MAX_SECONDS = 300.0
SOURCES = ("", "model", "service", "clients/python")
PROGRAMS = {  # `curl` that fails where its answer is an error; as much of grpcurl as the documents use
    "curl": '#!/bin/sh\nPATH="${PATH#*:}" exec curl --fail-with-body "$@"\n',
    "grpcurl": f'#!/bin/sh\nexec "{sys.executable}" -m tests.documents.grpcurl "$@"\n',
}


@dataclass
class Shell:
    """Runs commands in a folder; addresses in them are replaced by those of the server."""

    folder: Path
    environment: Mapping[str, str]
    addresses: Mapping[str, str]

    def bash(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return self._run("bash", "-o", "pipefail", "-c", self.addressed(command))

    def python(self, code: str) -> subprocess.CompletedProcess[str]:
        """Run a script to its end; a warning is a failure."""
        return self._run(sys.executable, "-c", self.addressed(code))

    def words(self, command: str) -> list[str]:
        """Expand quotations and patterns of a command without pipes, as bash does."""
        return self._run("bash", "-c", f"printf '%s\\0' {self.addressed(command)}").stdout.split("\0")[:-1]

    def first_line(self, command: str) -> tuple[str, int]:
        """Start a server; return its first line of output, and its exit status after SIGTERM."""
        with subprocess.Popen(
            ["bash", "-c", f"exec env {self.addressed(command)}"],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process:
            guard = threading.Timer(MAX_SECONDS, process.terminate)
            guard.start()
            assert process.stdout is not None
            line = process.stdout.readline()
            guard.cancel()
            process.send_signal(signal.SIGTERM)
            return line, process.wait(MAX_SECONDS)

    def addressed(self, text: str) -> str:
        for written, real in self.addresses.items():
            text = text.replace(written, real)
        return text

    def _run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words, cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=MAX_SECONDS,
        )  # fmt: skip


@pytest.fixture
def shell(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, text in PROGRAMS.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    for name in [name for name in os.environ if name.startswith("LEXISEG_")]:
        monkeypatch.delenv(name)
    for name, port in FREE_PORTS.items():
        monkeypatch.setenv(name, port)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))  # exports go there
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(str(ROOT / part) for part in SOURCES))
    monkeypatch.setenv("PATH", os.pathsep.join([str(programs), str(Path(sys.executable).parent), os.environ["PATH"]]))
    folder = lay_out(tmp_path)
    monkeypatch.chdir(folder)
    addresses = {
        "localhost:8000": server.url.removeprefix("http://"),
        "localhost:50051": server.grpc,
        "--host 0.0.0.0": "--host 127.0.0.1",
    }
    return Shell(folder, dict(os.environ), addresses)


@pytest.fixture
def lexiseg(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    """The command line in this process: its imports and the model's are paid once for all documents."""
    return CommandLine(monkeypatch, capsys)
