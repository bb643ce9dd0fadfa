"""A job whose gateway and worker are killed: each picture is answered once, none is lost, none is wrong."""

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from loadtests.ports import free_port
from tests import pictures
from tests.integration.server import TO_START, Process
from tests.redis_server import RedisServer
from tests.waiting import until

COUNT = 160
QUESTION = {"classes": ["sky", "building", "flower"]}
NAMES = ("china", "flower")
CLASSES = [*QUESTION["classes"]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photographs")
    for number in range(COUNT):
        picture = pictures.small(NAMES[number % 2], 64 + number)
        (folder / f"{number:04d}.jpg").write_bytes(pictures.encoded(picture, "JPEG"))
    return folder


class Patient:
    """`lexiseg serve` on a port that stays, asked until it answers."""

    def __init__(self, state: Path, folder: Path, **environment: str) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        ports = ("--http-port", self.url.rpartition(":")[2], "--grpc-port", "0")
        settings = {"LEXISEG_JOBS": "true", "LEXISEG_STATE_DIR": str(state), "LEXISEG_JOB_FOLDERS": str(folder)}
        self.process = Process(state / "log.jsonl", "serve", *ports, **settings, **environment)

    def __enter__(self) -> "Patient":
        self.process.__enter__()
        until(self.ready, TO_START, self.process.last_lines)
        return self

    def __exit__(self, *error: Any) -> None:
        self.process.stop()

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        answer: list[httpx.Response] = []

        def answered() -> bool:
            with suppress(httpx.TransportError):
                answer[:] = [httpx.request(method, self.url + path, timeout=60, **options)]
            return bool(answer)

        until(answered, TO_START, self.process.last_lines)
        return answer[0]

    def ready(self) -> bool:
        return self.ask("GET", "/readyz").status_code == 200

    def children(self) -> list[psutil.Process]:
        """A worker and the gateway, in the order in which they were started."""
        return sorted(psutil.Process(self.process.process.pid).children(), key=lambda child: child.create_time())

    def progress(self, job: str) -> dict[str, Any]:
        content: dict[str, Any] = self.ask("GET", f"/v1/jobs/{job}").json()
        return content

    def kill(self, role: Callable[[psutil.Process], bool]) -> None:
        victim = next(child for child in self.children() if role(child))
        victim.kill()
        until(lambda: not victim.is_running() or victim.status() == psutil.STATUS_ZOMBIE)


def is_worker(process: psutil.Process) -> bool:
    return any(each.laddr for each in process.net_connections("unix"))


def is_gateway(process: psutil.Process) -> bool:
    return not is_worker(process)


def start(server: Patient, folder: Path) -> str:
    created = server.ask("POST", "/v1/jobs", json={"folder": str(folder), "question": QUESTION})
    assert created.status_code == 202, created.text
    identity: str = created.json()["id"]
    return identity


def go_on(server: Patient, job: str) -> int:
    """Wait until more pictures are answered; their number."""
    before = server.progress(job).get("done", COUNT)
    until(lambda: server.progress(job).get("done", 0) > before, TO_START, server.process.last_lines)
    done: int = server.progress(job)["done"]
    return done


def assert_each_answered_once(server: Patient, job: str, folder: Path) -> None:
    until(lambda: server.progress(job).get("state") == "done", TO_START, server.process.last_lines)
    lines = [json.loads(line) for line in server.ask("GET", f"/v1/jobs/{job}/results").text.splitlines()]
    assert sorted(line["number"] for line in lines) == list(range(COUNT))
    assert [line["problem"] for line in lines if line["problem"]] == []
    until(server.ready)
    for line in lines[:: COUNT // 8]:
        form = [("image", ("a.jpg", (folder / line["image"]).read_bytes())), *(("classes", (None, n)) for n in CLASSES)]
        alone = server.ask("POST", "/v1/segment", files=form).json()
        assert line["answer"]["segments"] == alone["segments"]


def test_a_killed_gateway_and_a_killed_worker_lose_no_picture(tmp_path: Path, folder: Path) -> None:
    with Patient(tmp_path, folder) as server:
        job = start(server, folder)

        for victim in (is_gateway, is_worker, is_gateway):
            assert go_on(server, job) < COUNT
            server.kill(victim)

        assert_each_answered_once(server, job, folder)


def test_a_killed_redis_loses_no_picture(tmp_path: Path, folder: Path) -> None:
    redis = RedisServer(tmp_path, durable=True)
    with Patient(tmp_path, folder, LEXISEG_REDIS_URL=redis.url) as server:
        job = start(server, folder)

        assert go_on(server, job) < COUNT
        redis.kill()
        redis.start()
        assert go_on(server, job) < COUNT
        server.kill(is_gateway)

        assert_each_answered_once(server, job, folder)
    redis.kill()
