"""`lexiseg serve` as a process."""

from __future__ import annotations

import re
import signal
import subprocess
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx

from tests.command import ROOT as ROOT
from tests.command import start
from tests.waiting import until

TO_START = 120.0  # seconds; a loaded machine needs a tenth of it
TO_STOP = 60.0
# How quick an answer is belongs to the benchmarks; a slow machine would refuse what it cannot do in time.
PATIENT = {"LEXISEG_DEADLINE_SECONDS": "600"}


class Server:
    """Starts on any free port, waits until ready; `log` is its standard error.

    Args:
        environment: added to that of the tests and `PATIENT`.
    """

    def __init__(self, log: Path, **environment: str) -> None:
        self.log = log
        self.process = start(("serve", "--http-port", "0", "--grpc-port", "0"), PATIENT | environment, log)
        # A process that does not come up is killed, which ends the read below.
        guard = threading.Timer(TO_START, self.process.kill)
        guard.start()
        try:
            assert self.process.stdout is not None
            self.greeting = self.process.stdout.readline()
            match = re.search(r"http://localhost:\d+", self.greeting)
            assert match, f"no address in {self.greeting!r}; {self.log.read_text()[-2000:]}"
            self.url = match[0].replace("localhost", "127.0.0.1")
            self.grpc = "127.0.0.1:" + self.greeting.rpartition(":")[2].strip()
            until(self._ready, TO_START, lambda: self.log.read_text()[-2000:])
        except BaseException:
            self.process.kill()
            self._close()
            raise
        finally:
            guard.cancel()

    def _ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", timeout=TO_START).status_code == 200
        except httpx.TransportError as error:
            status = self.process.poll()  # None: it runs, and says so too
            raise AssertionError(f"{error!r}; process status {status}; {self.log.read_text()[-4000:]}") from error

    def __enter__(self) -> Server:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.process.poll() is None:
            self.terminate()
        self.wait()

    def terminate(self) -> None:
        """SIGTERM."""
        self.process.send_signal(signal.SIGTERM)

    def wait(self) -> int:
        """The exit status; a process that does not end is killed."""
        try:
            return self.process.wait(TO_STOP)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        finally:
            self._close()

    def _close(self) -> None:
        self.process.wait(TO_STOP)
        if self.process.stdout:
            self.process.stdout.close()

    def metric(self, name: str) -> float:
        """One value of /metrics, its labels as they are written there."""
        text = httpx.get(f"{self.url}/metrics", timeout=TO_STOP).text
        return float(next(line.split()[1] for line in text.splitlines() if line.startswith(f"{name} ")))


def form(image: bytes, *classes: str, **fields: Any) -> list[tuple[str, Any]]:
    """Multipart parts of a flat question."""
    parts: list[tuple[str, Any]] = [("image", ("image", image))]
    parts += [("classes", (None, name)) for name in classes]
    return parts + [(name, (None, str(value))) for name, value in fields.items()]
