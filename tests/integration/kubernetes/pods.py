"""Pods as local processes: started, probed and terminated as the chart says."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

import httpx

from tests.integration.server import ROOT
from tests.waiting import SOON

Object = dict[str, Any]
# A file of names for one process alone; it is read anew for each look-up.
WITH_NAMES = 'mount --bind "$0" /etc/hosts && exec "$@"'


@cache
def of_its_own() -> list[str]:
    """What puts a command into a world of files of its own; empty where that is not allowed."""
    options = ["-m"] if os.geteuid() == 0 else ["-r", "-m"]
    tool = shutil.which("unshare")
    if tool is None or subprocess.run([tool, *options, "true"], capture_output=True, check=False).returncode:
        return []
    return [tool, *options, "sh", "-c", WITH_NAMES]


class Pod:
    """One container as a Deployment of the chart describes it, as a process."""

    def __init__(
        self,
        deployment: Object,
        address: str,
        ports: dict[str, int],
        environment: dict[str, str],  # instead of the variables that name what is elsewhere
        names: Path,  # a file like /etc/hosts
        log: Path,
    ) -> None:
        self._spec = deployment["spec"]["template"]["spec"]
        (self._container,) = self._spec["containers"]
        self.address = address
        self._ports = ports
        self._errors = log.open("ab")
        self.log = log
        self.leaves = False
        self._ready = threading.Event()
        self._over = threading.Event()
        arguments, own = self._container["args"], os.environ | environment | {"LEXISEG_HOST": address}
        # A worker resolves no names, so it needs no mount namespace.
        namespace = [] if arguments[0] == "worker" else [*of_its_own(), str(names)]
        self.process = subprocess.Popen(
            [*namespace, sys.executable, "-m", "lexiseg_service.cli", *arguments],
            cwd=ROOT,
            env=own,
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
        )
        self._prober = threading.Thread(target=self._probe)
        self._prober.start()

    @property
    def ready(self) -> bool:
        """Whether its Service may send connections."""
        return self._ready.is_set() and not self.leaves

    def wait_until_ready(self) -> None:
        probe = self._container["startupProbe"]
        assert self._ready.wait(2 * probe["periodSeconds"] * probe["failureThreshold"]), self.log.read_text()[-2000:]

    def delete(self) -> int:
        """As the node does it: no more connections, the sleep, SIGTERM, and no more time than there is."""
        began = time.monotonic()
        self.leaves = True
        subprocess.run(self._container["lifecycle"]["preStop"]["exec"]["command"], check=True)
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(began + self._spec["terminationGracePeriodSeconds"] - time.monotonic())
        finally:
            self.close()

    def close(self) -> None:
        self._over.set()
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(SOON)
        self._prober.join()
        self._errors.close()

    def _probe(self) -> None:
        """Started, then ready or not, as often as the probes say."""
        startup, readiness = self._container["startupProbe"], self._container["readinessProbe"]
        while not self._over.wait(startup["periodSeconds"]):
            if self._asked(startup):
                break
        failures = 0
        while not self._over.is_set():
            failures = 0 if self._asked(readiness) else failures + 1
            if not failures:
                self._ready.set()
            elif failures >= readiness["failureThreshold"]:
                self._ready.clear()
            self._over.wait(readiness["periodSeconds"])

    def _asked(self, probe: Object) -> bool:
        get = probe["httpGet"]
        url = f"http://{self.address}:{self._ports[get['port']]}{get['path']}"
        try:
            # However slow the machine is: a probe in time is the node's matter, what it answers is the pod's.
            return httpx.get(url, timeout=SOON).is_success
        except httpx.HTTPError:
            return False


class Pods:
    """The pods of one Deployment, and its Service."""

    def __init__(self, deployment: Object, start: Callable[[Object, int], Pod], numbers: Iterable[int]) -> None:
        self._deployment = deployment
        self._start = start
        self._numbers = iter(numbers)
        self.pods: list[Pod] = []
        self.statuses: list[int] = []  # of those that have gone

    @property
    def ready(self) -> list[str]:
        """Addresses behind its Service."""
        return [pod.address for pod in self.pods if pod.ready]

    def add(self) -> Pod:
        pod = self._start(self._deployment, next(self._numbers))
        self.pods.append(pod)
        return pod

    def update(self) -> None:
        """Another version of all of them, one more before one less, as the chart's strategy has it."""
        strategy = self._deployment["spec"]["strategy"]["rollingUpdate"]
        assert strategy == {"maxSurge": 1, "maxUnavailable": 0}
        for old in list(self.pods):
            self.add().wait_until_ready()
            self.statuses.append(old.delete())
            self.pods.remove(old)

    def close(self) -> None:
        for pod in self.pods:
            pod.close()
