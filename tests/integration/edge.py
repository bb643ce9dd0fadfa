"""HAProxy with deploy/edge/haproxy.cfg in front of a gateway, for tests."""

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from loadtests.ports import free_port
from tests.integration.server import ROOT
from tests.waiting import SOON, until

CONFIGURATION = ROOT / "deploy" / "edge" / "haproxy.cfg"


@dataclass(frozen=True)
class Edge:
    """Where HAProxy listens."""

    http: int
    grpc: int
    metrics: int

    def metric(self, name: str) -> float:
        """A value of HAProxy's exporter, as `haproxy_up{proxy="rest"}`."""
        text = httpx.get(f"http://127.0.0.1:{self.metrics}/metrics", timeout=SOON).text
        return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http}"


@contextmanager
def started(
    gateway_http: str,
    gateway_grpc: str,
    log: Path,
    configuration: Path = CONFIGURATION,
    /,
    command: Sequence[str] = (),
    **settings: str,
) -> Iterator[Edge]:
    """HAProxy in front of a gateway, once it lets questions pass; by a command of its own if there is one."""
    ports = Edge(free_port(), free_port(), free_port())
    environment = {
        "EDGE_HTTP": f"127.0.0.1:{ports.http}",
        "EDGE_GRPC": f"127.0.0.1:{ports.grpc}",
        "GATEWAY_HTTP": gateway_http,
        "GATEWAY_GRPC": gateway_grpc,
        "EDGE_METRICS": f"127.0.0.1:{ports.metrics}",
    }
    with log.open("w") as output:
        process = subprocess.Popen(
            command or ["haproxy", "-db", "-f", str(configuration)],
            env={**os.environ, **environment, **settings},
            stdout=output,
            stderr=output,
        )
    try:
        url = f"https://127.0.0.1:{ports.http}" if "EDGE_TLS" in settings else ports.url
        until(lambda: answers(url) or process.poll() is not None, told=log.read_text)
        assert process.poll() is None, log.read_text()
        yield ports
    finally:
        process.terminate()
        process.wait(SOON)


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=SOON, verify=False).status_code == 200
    except httpx.TransportError:
        return False
