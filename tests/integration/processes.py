"""`lexiseg worker` and `lexiseg gateway` as processes, on free ports."""

from __future__ import annotations

import re
import signal
import subprocess
import threading
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from tests.command import start
from tests.integration.server import PATIENT, TO_START, TO_STOP
from tests.waiting import until

ADDRESS = re.compile(r"localhost:(\d+)")
SEEN = 60.0  # seconds until a gateway has seen a change of its workers; a tenth of it is usual


class Process:
    """One command, started and not waited for; stopped at the end, whatever a test did to it."""

    def __init__(self, log: Path, *command: str, **environment: str) -> None:
        self.log = log
        self.process = start(command, PATIENT | environment, log)

    @cached_property
    def ports(self) -> list[int]:
        """The ports that it says it listens on; waits until it does."""
        guard = threading.Timer(TO_START, self.process.kill)
        guard.start()
        try:
            assert self.process.stdout is not None
            greeting = self.process.stdout.readline()
        finally:
            guard.cancel()
        assert greeting, f"it did not start: {self.log.read_text()[-2000:]}"
        return [int(port) for port in ADDRESS.findall(greeting)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        """The exit status."""
        return self.process.wait(TO_STOP)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
        try:
            self.wait()
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(TO_STOP)
            raise
        finally:
            if self.process.stdout:
                self.process.stdout.close()


class Worker(Process):
    """Answers gateways at `address`, metrics at `url`."""

    def __init__(self, log: Path, port: int = 0, model: str = "tiny", **environment: str) -> None:
        options = ("--worker-port", str(port), "--metrics-port", "0", "--model", model)
        super().__init__(log, "worker", *options, **environment)

    @property
    def port(self) -> int:
        return self.ports[0]

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.ports[1]}"

    def metric(self, name: str) -> float:
        """One value, its labels as they are written there; 0 before there is one."""
        text = httpx.get(f"{self.url}/metrics", timeout=SEEN).text
        return next((float(line.split()[1]) for line in text.splitlines() if line.startswith(f"{name} ")), 0.0)


class Gateway(Process):
    """REST at `url`, gRPC at `grpc`."""

    def __init__(self, log: Path, *workers: str, **environment: str) -> None:
        options = ("--workers", ",".join(workers), "--http-port", "0", "--grpc-port", "0")
        super().__init__(log, "gateway", *options, **environment)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.ports[0]}"

    @property
    def grpc(self) -> str:
        return f"127.0.0.1:{self.ports[-1]}"

    def ready_workers(self) -> int:
        """As /readyz says."""
        return int(httpx.get(f"{self.url}/readyz", timeout=SEEN).json()["detail"].split()[0])

    def wait_for_workers(self, number: int, seconds: float = TO_START) -> None:
        self.wait_until(lambda: self.ready_workers() == number, seconds)

    def wait_until(self, holds: Callable[[], bool], seconds: float = SEEN) -> None:
        until(holds, seconds, lambda: self.log.read_text()[-2000:])
