"""Servers to be measured: lexiseg, the usual home-made one, and the same model behind other serving frameworks."""

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
PEERS_PYTHON = f"{sys.prefix}-peers/bin/python"  # made by `make peers`


class Server(NamedTuple):
    """How a server is started, and where it says that it is ready."""

    command: tuple[str, ...]
    ready: str = "/readyz"
    environment: Mapping[str, str] = {}  # beside ours

    @property
    def installed(self) -> bool:
        """Whether there is an environment to run it in."""
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
    """This one, behind the one that it is compared with.

    Raises:
        SystemExit: AGAINST is not the folder of a checkout, so that this one would answer twice.
    """
    against = os.environ.get("AGAINST")
    if not against:
        return [Path.cwd()]
    other = Path(against).resolve()
    if not (other / "service" / "lexiseg_service").is_dir():
        raise SystemExit(f"AGAINST={against}: expected the folder of another checkout, as `git worktree add` makes it")
    return [other, Path.cwd()]


def of(checkout: Path, settings: Mapping[str, str] = {}) -> Server:
    """How its service is started."""
    parts = (".", "model", "service", "clients/python")
    path = {"PYTHONPATH": os.pathsep.join(str(checkout / part) for part in parts)}
    return LEXISEG._replace(environment={**path, **settings})


def is_ready(url: str) -> bool:
    """Whether an address answers 200; one that nobody listens on yet does not."""
    try:
        return httpx.get(url).status_code == 200
    except httpx.TransportError:
        return False


def cpu_seconds(process: psutil.Process) -> float:
    """Of a server and the processes it has started."""
    return sum(sum(member.cpu_times()[:2]) for member in (process, *process.children(recursive=True)))


@contextmanager
def serving(server: Server) -> Iterator[tuple[str, psutil.Process]]:
    """Starts a server that prints its address first; ends it and what it has started by their own pids."""
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
