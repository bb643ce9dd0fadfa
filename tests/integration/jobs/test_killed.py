"""A job whose gateway and worker are killed: each picture is answered once, none is lost, none is wrong."""

import json
from pathlib import Path

import pytest

from tests import pictures
from tests.integration.jobs.killing import Patient, is_gateway, is_worker
from tests.integration.server import TO_START
from tests.redis_server import RedisServer
from tests.waiting import until

COUNT = 100
CLASSES = ["sky", "building", "flower"]
NAMES = ("china", "flower")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photographs")
    for number in range(COUNT):
        picture = pictures.small(NAMES[number % 2], 64 + number)
        (folder / f"{number:04d}.jpg").write_bytes(pictures.encoded(picture, "JPEG"))
    return folder


def go_on(server: Patient, job: str) -> int:
    """Wait until more pictures are answered; their number."""
    server.wait_for(job, server.progress(job)["done"] + 1)
    done: int = server.progress(job)["done"]
    return done


def assert_each_answered_once(server: Patient, job: str, folder: Path) -> None:
    until(lambda: server.progress(job)["state"] == "done", TO_START, server.process.last_lines)
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
        job = server.create(folder, {"classes": CLASSES})

        for victim in (is_gateway, is_worker, is_gateway):
            assert go_on(server, job) < COUNT
            server.kill(victim)

        assert_each_answered_once(server, job, folder)


def test_a_killed_redis_loses_no_picture(tmp_path: Path, folder: Path) -> None:
    redis = RedisServer(tmp_path, durable=True)
    with Patient(tmp_path, folder, LEXISEG_REDIS_URL=redis.url) as server:
        job = server.create(folder, {"classes": CLASSES})

        assert go_on(server, job) < COUNT
        redis.kill()
        redis.start()
        assert go_on(server, job) < COUNT
        server.kill(is_gateway)

        assert_each_answered_once(server, job, folder)
    redis.kill()
