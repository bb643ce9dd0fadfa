"""`lexiseg serve` with jobs, on a port that stays, and processes of it that are killed."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import httpx
import psutil

from loadtests.ports import free_port
from tests.integration.server import TO_START, Process
from tests.waiting import SOON, until


class Patient:
    """`lexiseg serve`, asked until it answers.

    Args:
        state: the state directory, also of its log.
        folder: what jobs may read.
        environment: more settings.
    """

    def __init__(self, state: Path, folder: Path, **environment: str) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        self._log = state / "log.jsonl"
        settings = {"LEXISEG_JOBS": "true", "LEXISEG_STATE_DIR": str(state), "LEXISEG_JOB_FOLDERS": str(folder)}
        self._settings = settings | environment
        self.process = self._start()

    def _start(self) -> Process:
        ports = ("--http-port", self.url.rpartition(":")[2], "--grpc-port", "0")
        return Process(self._log, "serve", *ports, **self._settings)

    def __enter__(self) -> Self:
        until(self.ready, TO_START, self.process.last_lines)
        return self

    def __exit__(self, *error: Any) -> None:
        self.process.stop()

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        answer: list[httpx.Response] = []

        def answered() -> bool:
            with suppress(httpx.TransportError):
                answer[:] = [httpx.request(method, self.url + path, timeout=SOON, **options)]
            return bool(answer)

        until(answered, TO_START, self.process.last_lines)
        return answer[0]

    def ready(self) -> bool:
        return self.ask("GET", "/readyz").status_code == 200

    def create(self, folder: Path, question: dict[str, Any]) -> str:
        """The id of a new job."""
        created = self.ask("POST", "/v1/jobs", json={"folder": str(folder), "question": question})
        assert created.status_code == 202, created.text
        identity: str = created.json()["id"]
        return identity

    def progress(self, job: str) -> dict[str, Any]:
        """Of a job; waits while the service cannot say, as without its Redis."""
        answer: list[httpx.Response] = []

        def said() -> bool:
            answer[:] = [self.ask("GET", f"/v1/jobs/{job}")]
            return answer[0].is_success

        until(said, TO_START, self.process.last_lines)
        content: dict[str, Any] = answer[0].json()
        return content

    def kill(self, role: Callable[[psutil.Process], bool]) -> None:
        """Kill the gateway or a worker, once one listens; the supervisor starts it again."""
        victims: list[psutil.Process] = []

        def is_there() -> bool:
            with suppress(psutil.NoSuchProcess):  # it has just ended
                victims[:] = filter(role, psutil.Process(self.process.process.pid).children())
            return bool(victims)

        until(is_there, TO_START, self.process.last_lines)
        victim = victims[0]
        victim.kill()
        until(lambda: not victim.is_running() or victim.status() == psutil.STATUS_ZOMBIE)

    # By `benchmarks/faults/killed.py`.

    def wait_for(self, job: str, done: int, seconds: float) -> None:
        """Wait until so many pictures have an answer."""
        until(lambda: self.progress(job)["done"] >= done, seconds, self.process.last_lines)

    def kill_all(self) -> None:
        """Kill the supervisor and its children, and start the service again."""
        supervisor = psutil.Process(self.process.process.pid)
        members = [supervisor, *supervisor.children()]
        for member in members:
            member.kill()
        psutil.wait_procs(members, TO_START)
        self.process.stop()
        self.process = self._start()


def is_worker(process: psutil.Process) -> bool:
    """Whether a child of `lexiseg serve` is a worker: it listens at a Unix socket."""
    return any(each.laddr for each in process.net_connections("unix"))


def is_gateway(process: psutil.Process) -> bool:
    """Whether it is the gateway: it listens at a port."""
    return any(each.status == psutil.CONN_LISTEN for each in process.net_connections("tcp"))
