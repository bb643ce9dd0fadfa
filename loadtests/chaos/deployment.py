"""Redis, two workers, a gateway and two edges as processes that can be stopped, killed and restarted."""

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
import trustme

from loadtests.ports import free_port
from loadtests.run import ROOT, START_SECONDS, STOP_SECONDS, until_ready

COMMAND = (sys.executable, "-m", "lexiseg_service.cli")
CACHES = re.compile(r"^lexiseg_cache_bytes\{\S+\} (\S+)$", re.MULTILINE)
EDGE = ROOT / "deploy" / "edge" / "haproxy.cfg"
PORT = re.compile(r"localhost:(\d+)")


class Level(NamedTuple):
    """Resources of a process."""

    descriptors: int
    resident: int  # bytes
    caches: float  # bytes, by the gauges of its caches


class Process:
    """A process that can be killed, stopped and restarted on the same port."""

    def __init__(self, name: str, command: Sequence[str], log: Path) -> None:
        self.name = name
        self._command = command
        self._log = log
        self.start()

    def start(self) -> None:
        """Start it; its standard error is appended to its log."""
        with self._log.open("ab") as errors:
            self.running = subprocess.Popen(
                self._command, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, text=True, start_new_session=True
            )

    def ports(self) -> list[int]:
        """Wait for its greeting and return the ports in it.

        Raises:
            RuntimeError: it does not start.
        """
        guard = threading.Timer(START_SECONDS, self.running.kill)
        guard.start()
        assert self.running.stdout is not None
        greeting = self.running.stdout.readline()
        guard.cancel()
        if not greeting:
            raise RuntimeError(f"{self.name} did not start: {self._log.read_text(errors='replace')[-2000:]}")
        return [int(port) for port in PORT.findall(greeting)]

    def send(self, number: signal.Signals) -> None:
        """Send a signal, if it runs."""
        with suppress(ProcessLookupError):
            self.running.send_signal(number)

    def kill(self) -> None:
        """Kill it and wait for its end."""
        self.running.kill()
        self.running.wait(STOP_SECONDS)
        if self.running.stdout is not None:
            self.running.stdout.close()

    def end(self) -> int:
        """Terminate it; returns its exit status, -9 if it had to be killed."""
        self.send(signal.SIGCONT)
        self.send(signal.SIGTERM)
        try:
            status = self.running.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            return -int(signal.SIGKILL)
        if self.running.stdout is not None:
            self.running.stdout.close()
        return status

    def level(self, metrics: str | None = None) -> Level:
        """Its current resources; `metrics` is the base URL of its /metrics, None for Redis."""
        process = psutil.Process(self.running.pid)
        caches = 0.0
        if metrics is not None:
            with urllib.request.urlopen(f"{metrics}/metrics", timeout=30) as response:
                caches = sum(map(float, CACHES.findall(response.read().decode())))
        return Level(process.num_fds(), process.memory_info().rss, caches)


class Edge(NamedTuple):
    """Ports of an edge."""

    http: int
    grpc: int


class Deployment:
    """All processes; of the workers, `mortal` gets killed and `patient` only stopped.

    Of the edges, `edge` speaks plain HTTP and gRPC, `tls` both over TLS with a certificate that nobody knows.
    """

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
        words = ("redis-server", "--port", str(redis_port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes")
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
        jobs = ("--jobs", "--state-dir", str(self._folder / "state"))
        self.gateway = self._process("gateway", (*COMMAND, "gateway", *options, *jobs, *shared))
        http, *_, grpc = self.gateway.ports()
        self.url, self.grpc = f"http://127.0.0.1:{http}", f"127.0.0.1:{grpc}"
        until_ready(self.url)
        self.edge = self._edge("edge", http, grpc)
        authority = trustme.CA()
        authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(self._folder / "edge.pem")
        self.tls = self._edge("edge-tls", http, grpc, EDGE_TLS=f"ssl crt {self._folder / 'edge.pem'}")
        until_ready(f"http://127.0.0.1:{self.edge.http}")

    def _edge(self, name: str, gateway_http: int, gateway_grpc: int, **settings: str) -> Edge:
        """HAProxy in front of the gateway; its log is a line for each request."""
        edge = Edge(free_port(), free_port())
        settings |= {
            "EDGE_HTTP": f"127.0.0.1:{edge.http}",
            "EDGE_GRPC": f"127.0.0.1:{edge.grpc}",
            "EDGE_METRICS": f"127.0.0.1:{free_port()}",
            "GATEWAY_HTTP": f"127.0.0.1:{gateway_http}",
            "GATEWAY_GRPC": f"127.0.0.1:{gateway_grpc}",
        }
        variables = [f"{variable}={value}" for variable, value in settings.items()]
        self._process(name, ("env", *variables, "sh", "-c", 'exec haproxy -db -f "$0" >&2', str(EDGE)))
        return edge

    def _process(self, name: str, command: Sequence[str]) -> Process:
        process = Process(name, command, self._folder / f"{name}.log")
        self._all.append(process)
        return process

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def restart_mortal(self) -> None:
        """Restart the killed worker; the gateway finds it again."""
        self.mortal.start()
        self.mortal.ports()

    def wait_for_workers(self) -> bool:
        """Wait until both workers are ready for the gateway; False if that takes more than START_SECONDS."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            with suppress(OSError), urllib.request.urlopen(f"{self.url}/readyz", timeout=10) as response:
                if b'"2 ' in response.read():
                    return True
            time.sleep(0.2)
        return False

    def close(self) -> dict[str, int]:
        """Terminate all processes; returns their exit statuses."""
        return {process.name: process.end() for process in reversed(self._all) if process.running.poll() is None}

    def logs(self) -> dict[str, str]:
        """The standard error of each process."""
        return {path.stem: path.read_text(errors="replace") for path in sorted(self._folder.glob("*.log"))}
