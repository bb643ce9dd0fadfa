"""Start the servers to measure: lexiseg, plain FastAPI, and the same model behind other serving frameworks."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
import psutil

START_SECONDS = 120.0
END_SECONDS = 30.0
PEERS_PYTHON = f"{sys.prefix}-peers/bin/python"  # installed by `make peers`


class Server(NamedTuple):
    """A server's command, and the path that returns 200 when it is ready."""

    command: tuple[str, ...]
    ready: str = "/readyz"
    environment: Mapping[str, str] = {}  # added to this process's

    @property
    def installed(self) -> bool:
        """Whether its Python environment exists."""
        return Path(self.command[0]).exists()


QUIET = ("--http-port", "0", "--grpc-port", "0", "--log-level", "warning")
LEXISEG = Server((sys.executable, "-m", "lexiseg_service.cli", "serve", *QUIET))
PEERS = {
    "plain FastAPI": Server((sys.executable, "-m", "loadtests.peers.plain_fastapi")),
    "LitServe": Server((PEERS_PYTHON, "-m", "loadtests.peers.litserve_server")),
    "Mosec": Server((PEERS_PYTHON, "-m", "loadtests.peers.mosec_server"), "/"),
    "Ray Serve": Server((PEERS_PYTHON, "-m", "loadtests.peers.ray_server")),
}


def checkouts() -> list[Path]:
    """The checkouts to measure: AGAINST, if set, then this one.

    Raises:
        SystemExit: AGAINST is not a checkout.
    """
    against = os.environ.get("AGAINST")
    if not against:
        return [Path.cwd()]
    other = Path(against).resolve()
    if not (other / "service" / "lexiseg_service").is_dir():
        raise SystemExit(f"AGAINST={against}: expected the folder of another checkout, as from `git worktree add`")
    return [other, Path.cwd()]


def server_of(checkout: Path) -> Server:
    """The lexiseg server of a checkout."""
    parts = (".", "model", "service", "clients/python")
    return LEXISEG._replace(environment={"PYTHONPATH": os.pathsep.join(str(checkout / part) for part in parts)})


def is_ready(url: str) -> bool:
    """Whether a GET returns 200; False while nothing listens."""
    try:
        return httpx.get(url).status_code == 200
    except httpx.TransportError:
        return False


def cpu_seconds(process: psutil.Process) -> float:
    """CPU seconds of a server and its child processes."""
    return sum(sum(member.cpu_times()[:2]) for member in (process, *process.children(recursive=True)))


def gateway_seconds(process: psutil.Process) -> float:
    """CPU seconds of the processes of a server that have TCP sockets: of lexiseg, the gateway."""
    members = (process, *process.children(recursive=True))
    return sum(sum(member.cpu_times()[:2]) for member in members if member.net_connections("tcp"))


@contextmanager
def running_server(server: Server) -> Iterator[tuple[str, psutil.Process]]:
    """Start a server that prints its address on its first line; terminates it and its children at the end."""
    process = subprocess.Popen(
        server.command, stdout=subprocess.PIPE, text=True, env={**os.environ, **server.environment}
    )
    try:
        assert process.stdout is not None
        address = re.search(r"http://\S+:\d+", process.stdout.readline())
        assert address, f"{server.command} did not print its address"
        deadline = time.monotonic() + START_SECONDS
        while not is_ready(address[0] + server.ready):
            assert time.monotonic() < deadline, f"{server.command} did not become ready"
            time.sleep(0.1)
        yield address[0], psutil.Process(process.pid)
    finally:
        leader = psutil.Process(process.pid)
        members = [*leader.children(recursive=True), leader]
        for member in members:
            if member.is_running():
                member.terminate()
        _, alive = psutil.wait_procs(members, END_SECONDS)
        for member in alive:
            member.kill()
        process.wait(END_SECONDS)
        if process.stdout is not None:
            process.stdout.close()
