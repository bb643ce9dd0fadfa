"""`lexiseg` as processes on free ports: `serve`, and a command on its own."""

import re
import signal
import subprocess
import threading
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from tests.command import ROOT as ROOT
from tests.command import start
from tests.waiting import until

TO_START = 300.0  # seconds; a loaded machine needs a tenth of it
TO_STOP = 60.0
# How quick an answer is belongs to the benchmarks; a slow machine would refuse what it cannot do in time.
PATIENT = {"LEXISEG_DEADLINE_SECONDS": "600"}
ADDRESS = re.compile(r"localhost:(\d+)")


class Process:
    """One command, started and not waited for; stopped at the end, whatever a test did to it."""

    def __init__(self, log: Path, *command: str, **environment: str) -> None:
        self.log = log
        self.process = start(command, PATIENT | environment, log)

    @cached_property
    def greeting(self) -> str:
        """The line that says where it listens; waits for it."""
        # A process that does not come up is killed, which ends the read.
        guard = threading.Timer(TO_START, self.process.kill)
        guard.start()
        try:
            assert self.process.stdout is not None
            greeting = self.process.stdout.readline()
        finally:
            guard.cancel()
        assert ADDRESS.search(greeting), f"no address in {greeting!r}; {self.last_lines()}"
        return greeting

    @property
    def ports(self) -> list[int]:
        """The ports that it says it listens on."""
        return [int(port) for port in ADDRESS.findall(self.greeting)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def last_lines(self) -> str:
        """The end of its log."""
        return self.log.read_text()[-4000:]

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self, seconds: float = TO_STOP) -> int:
        """The exit status."""
        return self.process.wait(seconds)

    def wait_until(self, holds: Callable[[], object], seconds: float = TO_STOP) -> None:
        until(holds, seconds, self.last_lines)

    def stop(self) -> None:
        """Ask it to end, if it has not; a process that does not end is killed."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            self.process.send_signal(signal.SIGINT)  # nobody's request is awaited
        try:
            self.wait()
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(TO_STOP)
            raise
        finally:
            if self.process.stdout:
                self.process.stdout.close()


class Server(Process):
    """`lexiseg serve`: REST at `url`, gRPC at `grpc`; waits until it is ready."""

    def __init__(self, log: Path, **environment: str) -> None:
        super().__init__(log, "serve", "--http-port", "0", "--grpc-port", "0", **environment)
        try:
            self.url = f"http://127.0.0.1:{self.ports[0]}"
            self.grpc = f"127.0.0.1:{self.ports[-1]}"
            self.wait_until(self._ready, TO_START)
        except BaseException:
            self.process.kill()
            self.stop()
            raise

    def _ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", timeout=TO_START).status_code == 200
        except httpx.TransportError as error:
            status = self.process.poll()  # None: it runs, and says so too
            raise AssertionError(f"{error!r}; process status {status}; {self.last_lines()}") from error

    def metric(self, name: str) -> float:
        return metric(self.url, name)


def metric(url: str, name: str) -> float:
    """One value of /metrics, its labels as they are written there; 0 before there is one."""
    text = httpx.get(f"{url}/metrics", timeout=TO_STOP).text
    return next((float(line.split()[1]) for line in text.splitlines() if line.startswith(f"{name} ")), 0.0)


def form(image: bytes, *classes: str, **fields: Any) -> list[tuple[str, Any]]:
    """Multipart parts of a flat question."""
    parts: list[tuple[str, Any]] = [("image", ("image", image))]
    parts += [("classes", (None, name)) for name in classes]
    return parts + [(name, (None, str(value))) for name, value in fields.items()]
