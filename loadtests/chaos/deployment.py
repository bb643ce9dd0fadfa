"""A Redis, two workers and a gateway as processes of their own, and what can be done to them."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import psutil

from loadtests.ports import free_port
from loadtests.run import ROOT, TO_START, TO_STOP, until_ready

COMMAND = (sys.executable, "-m", "lexiseg_service.cli")
CACHES = re.compile(r"^lexiseg_cache_bytes\{\S+\} (\S+)$", re.MULTILINE)
PORT = re.compile(r"localhost:(\d+)")


class Level(NamedTuple):
    """What a process holds."""

    descriptors: int
    resident: int  # bytes
    caches: float  # bytes that it says it keeps on purpose


class Process:
    """One process, which may be killed, stopped and started again on the same port."""

    def __init__(self, name: str, command: Sequence[str], log: Path) -> None:
        self.name = name
        self._command = command
        self._log = log
        self.start()

    def start(self) -> None:
        """Starts it; what it says on its errors is added to its log."""
        with self._log.open("ab") as errors:
            self.running = subprocess.Popen(
                self._command, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, text=True, start_new_session=True
            )

    def ports(self) -> list[int]:
        """The ports that it says it listens on; waits until it does.

        Raises:
            RuntimeError: it does not start.
        """
        guard = threading.Timer(TO_START, self.running.kill)
        guard.start()
        assert self.running.stdout is not None
        greeting = self.running.stdout.readline()
        guard.cancel()
        if not greeting:
            raise RuntimeError(f"{self.name} did not start: {self._log.read_text(errors='replace')[-2000:]}")
        return [int(port) for port in PORT.findall(greeting)]

    def send(self, number: signal.Signals) -> None:
        """Sends a signal, if it runs."""
        with suppress(ProcessLookupError):
            self.running.send_signal(number)

    def kill(self) -> None:
        """SIGKILL; comes back when it is gone."""
        self.running.kill()
        self.running.wait(TO_STOP)
        if self.running.stdout is not None:
            self.running.stdout.close()

    def end(self) -> int:
        """Lets it end in peace; the exit status, -9 if it had to be killed."""
        self.send(signal.SIGCONT)
        self.send(signal.SIGTERM)
        try:
            status = self.running.wait(TO_STOP)
        except subprocess.TimeoutExpired:
            self.kill()
            return -int(signal.SIGKILL)
        if self.running.stdout is not None:
            self.running.stdout.close()
        return status

    def level(self, metrics: str | None = None) -> Level:
        """What it holds now; `metrics` is its address, where it has one."""
        process = psutil.Process(self.running.pid)
        caches = 0.0
        if metrics is not None:
            with urllib.request.urlopen(f"{metrics}/metrics", timeout=30) as response:
                caches = sum(map(float, CACHES.findall(response.read().decode())))
        return Level(process.num_fds(), process.memory_info().rss, caches)


class Deployment:
    """All of them; `mortal` and `patient` are the workers, of which one is killed and one only stopped."""

    def __init__(self, folder: Path, keys: Path) -> None:
        self._folder = folder
        self._all: list[Process] = []
        try:
            self._open(keys)
        except BaseException:
            self.close()
            raise

    def _open(self, keys: Path) -> None:
        redis_port, *worker_ports = (free_port() for _ in range(3))
        redis = f"redis://127.0.0.1:{redis_port}/0"
        words = ("redis-server", "--port", str(redis_port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no")
        self.redis = self._process("redis", (*words, "--dir", str(self._folder)))
        shared = ("--redis-url", redis, "--log-level", "warning")
        self.mortal, self.patient = (
            self._process(
                f"worker-{number}",
                (*COMMAND, "worker", "--worker-port", str(port), "--metrics-port", "0", *shared),
            )
            for number, port in enumerate(worker_ports)
        )
        ports = [worker.ports() for worker in (self.mortal, self.patient)]
        self.patient_metrics = f"http://127.0.0.1:{ports[1][1]}"
        addresses = ",".join(f"127.0.0.1:{port}" for port in worker_ports)
        options = ("--workers", addresses, "--http-port", "0", "--grpc-port", "0", "--api-keys-file", str(keys))
        self.gateway = self._process("gateway", (*COMMAND, "gateway", *options, *shared))
        http, *_, grpc = self.gateway.ports()
        self.url, self.grpc = f"http://127.0.0.1:{http}", f"127.0.0.1:{grpc}"
        until_ready(self.url)

    def _process(self, name: str, command: Sequence[str]) -> Process:
        process = Process(name, command, self._folder / f"{name}.log")
        self._all.append(process)
        return process

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def restart_mortal(self) -> None:
        """Starts the worker that was killed; it is found again by itself."""
        self.mortal.start()
        self.mortal.ports()

    def wait_for_workers(self, seconds: float = TO_START) -> bool:
        """Until the gateway knows both workers to be ready."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with suppress(OSError), urllib.request.urlopen(f"{self.url}/readyz", timeout=10) as response:
                if b'"2 ' in response.read():
                    return True
            time.sleep(0.2)
        return False

    def close(self) -> dict[str, int]:
        """Ends everything; the exit statuses."""
        return {process.name: process.end() for process in reversed(self._all) if process.running.poll() is None}

    def logs(self) -> dict[str, str]:
        """What each process wrote on its errors."""
        return {path.stem: path.read_text(errors="replace") for path in sorted(self._folder.glob("*.log"))}
