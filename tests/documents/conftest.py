"""One server for the documents, and a shell in which their commands mean what they say."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import pytest

from lexiseg_model.export.manifest import default_cache_dir
from lexiseg_service.settings import Adapter
from tests.documents.forking import SHIM, serve
from tests.documents.reading import ROOT
from tests.documents.standing import lay_out
from tests.forks import forks
from tests.integration.server import Server

TO_START = 120.0  # seconds; a loaded machine needs a tenth of it
LONGEST = 300.0


@dataclass
class Shell:
    """Runs commands in a folder; addresses of the documents are those of the server."""

    folder: Path
    environment: Mapping[str, str]
    addresses: Mapping[str, str]

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        """A command to its end."""
        return subprocess.run(
            ["bash", "-o", "pipefail", "-c", self._here(command)],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LONGEST,
        )

    def greeting(self, command: str) -> tuple[str, int]:
        """The first line of a command that goes on until it is told to end, and its exit status once it was."""
        with subprocess.Popen(
            ["bash", "-c", f"exec env {self._here(command)}"],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process:
            guard = threading.Timer(TO_START, process.terminate)
            guard.start()
            assert process.stdout is not None
            said = process.stdout.readline()
            guard.cancel()
            process.send_signal(signal.SIGTERM)
            return said, process.wait(TO_START)

    def _here(self, text: str) -> str:
        for written, real in self.addresses.items():
            text = text.replace(written, real)
        return text

    def python(self, code: str) -> subprocess.CompletedProcess[str]:
        """A script to its end; a warning is a failure."""
        return subprocess.run(
            [sys.executable, "-c", self._here(code)],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=LONGEST,
        )


@pytest.fixture(scope="session")
def document_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    log = tmp_path_factory.mktemp("documents") / "log.jsonl"
    with Server(log, LEXISEG_ADAPTERS=",".join(get_args(Adapter))) as running:
        yield running


@pytest.fixture(scope="session")
def cache(document_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the user's, for commands that change it; a server has exported the model, where that is faster."""
    folder = tmp_path_factory.mktemp("cache") / "lexiseg"
    if default_cache_dir().is_dir():
        shutil.copytree(default_cache_dir(), folder, ignore=shutil.ignore_patterns(".*"))  # what others just write
    return folder


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with what the documents call: `lexiseg`, `curl` that fails as its answer does, `grpcurl`."""
    folder = tmp_path_factory.mktemp("programs")
    address = str(folder / "fork")
    forking = forks().Process(target=serve, args=(address,))
    forking.start()
    try:
        deadline = time.monotonic() + TO_START
        while not Path(address).exists():
            assert forking.exitcode is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        for name, text in {
            "lexiseg": SHIM.format(python=sys.executable, address=address),
            "curl": '#!/bin/sh\nPATH="${PATH#*:}" exec curl --fail-with-body "$@"\n',
            "grpcurl": f'#!/bin/sh\nexec "{sys.executable}" -m tests.documents.grpcurl "$@"\n',
        }.items():
            (folder / name).write_text(text)
            (folder / name).chmod(0o755)
        yield folder
    finally:
        forking.terminate()
        forking.join()


@pytest.fixture
def shell(document_server: Server, programs: Path, cache: Path, tmp_path: Path) -> Shell:
    own = {name: value for name, value in os.environ.items() if not name.startswith("LEXISEG_")}
    search = (ROOT, ROOT / "model", ROOT / "service", ROOT / "clients/python")
    environment = own | {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(map(str, search)),
        "LEXISEG_CACHE_DIR": str(cache),
        **{f"LEXISEG_{kind}_PORT": "0" for kind in ("HTTP", "GRPC", "WORKER", "METRICS")},
    }
    addresses = {
        "localhost:8000": document_server.url.removeprefix("http://"),
        "localhost:50051": document_server.grpc,
        "--host 0.0.0.0": "--host 127.0.0.1",
    }
    return Shell(lay_out(tmp_path), environment, addresses)
