"""A rolling update as Kubernetes does it, with the chart's probes, sleeps and signals: no request fails."""

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from loadtests.ports import free_port
from tests.deploy.helm.installing import THERE_IS_ONE, installed
from tests.integration.kubernetes.balancer import Balancer
from tests.integration.kubernetes.pods import Object, Pod, Pods, of_its_own
from tests.integration.load import grpc_client, load, rest_client
from tests.waiting import until

LAG = 1.5  # seconds until the Service knows of a change
NAMES_EVERY = 0.5
CLIENTS, CALLERS = 2, 3  # of REST and of gRPC
THINK = 0.6  # seconds between two questions of a client: what starts needs the processor, too
ANSWERS = 5  # to each kind before the update and after it
WORKER, GATEWAY = "lexiseg-worker-tiny", "lexiseg-gateway"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not THERE_IS_ONE, reason="no library of Helm for this machine"),
    pytest.mark.skipif(not of_its_own(), reason="names of its own need a mount namespace, which is not allowed here"),
]


class Release:
    """What the chart makes, as processes: each pod on a loopback address of its own, all on the same ports."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        made = installed({"redis": {"enabled": False}, "gateway": {}})
        self._ports = {name: free_port() for name in ("worker", "metrics", "http", "grpc")}
        self.service = made.one("Service", WORKER)["metadata"]["name"]
        self.names = folder / "hosts"
        self.names.write_text("")
        self._env = made.env("Deployment", GATEWAY)
        numbers = iter(range(2, 250))
        self.workers = Pods(made.one("Deployment", WORKER), self._start, numbers)
        self.gateways = Pods(made.one("Deployment", GATEWAY), self._start, numbers)
        self._over = threading.Event()
        self._naming = threading.Thread(target=self._name)
        self._naming.start()

    @property
    def http_port(self) -> int:
        return self._ports["http"]

    @property
    def grpc_port(self) -> int:
        return self._ports["grpc"]

    def close(self) -> None:
        self._over.set()
        self._naming.join()
        self.gateways.close()
        self.workers.close()

    def _start(self, deployment: Object, number: int) -> Pod:
        environment = {f"LEXISEG_{name.upper()}_PORT": str(port) for name, port in self._ports.items()}
        # As the chart has it, on a port that is free here.
        workers = self._env["LEXISEG_WORKERS"].replace(":50061", f":{self._ports['worker']}")
        own = {name: value for name, value in self._env.items() if name.endswith("_SECONDS")}
        environment |= {"LEXISEG_WORKERS": workers, **own}
        log = self._folder / f"{number}.jsonl"
        return Pod(deployment, f"127.0.7.{number}", self._ports, environment, self.names, log)

    def _name(self) -> None:
        """The headless Service: its name stands for the workers that are ready."""
        while not self._over.wait(NAMES_EVERY):
            text = "".join(f"{address} {self.service}\n" for address in self.workers.ready)
            if text != self.names.read_text():
                # In place: another file would not be seen where this one is mounted.
                with self.names.open("r+") as file:
                    file.write(text)
                    file.truncate()


@pytest.fixture
def release(tmp_path: Path) -> Iterator[Release]:
    running = Release(tmp_path)
    try:
        yield running
    finally:
        running.close()


def wait_for(seen: Counter[str], more: int) -> None:
    """Until so many more requests of both kinds have been answered."""
    wanted = {kind: seen[kind] + more for kind in ("rest", "grpc")}
    until(lambda: all(seen[kind] >= number for kind, number in wanted.items()))


def test_a_rolling_update_fails_no_request(release: Release) -> None:
    workers, gateways = release.workers, release.gateways
    for pod in [pods.add() for pods in (workers, gateways)]:  # a second of each comes with the update
        pod.wait_until_ready()
    first = [pod.address for pod in (*workers.pods, *gateways.pods)]

    with (
        Balancer(lambda: gateways.ready, release.http_port, LAG) as http,
        Balancer(lambda: gateways.ready, release.grpc_port, LAG) as rpc,
    ):
        until(lambda: len(http.known) == len(rpc.known) == len(gateways.pods))
        rest, calls = (
            partial(rest_client, f"http://127.0.0.1:{http.port}"),
            partial(grpc_client, f"127.0.0.1:{rpc.port}"),
        )
        with load(*[rest] * CLIENTS, *[calls] * CALLERS, pause=THINK) as seen:
            wait_for(seen, ANSWERS)
            # Both at once, as an upgrade of the chart has it.
            with ThreadPoolExecutor(2) as updates:
                for update in [updates.submit(pods.update) for pods in (workers, gateways)]:
                    update.result()
            wait_for(seen, ANSWERS)

    assert set(seen) == {"rest", "grpc"}, seen
    assert not {pod.address for pod in (*workers.pods, *gateways.pods)} & set(first)
    assert workers.statuses + gateways.statuses == [0, 0]
