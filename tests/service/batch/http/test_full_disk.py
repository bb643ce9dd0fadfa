"""Stores that take no writes: nothing is lost, jobs and /readyz say what holds them up, refusals come in time."""

import errno
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from lexiseg_service.batch.files import Files
from lexiseg_service.settings import Settings
from tests.redis_server import RedisServer
from tests.service.batch.http.asking import PNG, create, finished, gateway, lines, zipped
from tests.service.gateway.known_backend import GatedBackend
from tests.service.gateway.rest.test_head_routes import taught
from tests.waiting import until

COUNT = 40
ARCHIVE = zipped({f"{number:02d}.png": PNG for number in range(COUNT)})
NO_ROOM = "No space left on device"
MAY_MOUNT = sys.platform == "linux" and os.geteuid() == 0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 4 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", disk], capture_output=True)
    if made.returncode:
        pytest.skip(f"no disk of its own here: {made.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


def fill(disk: Path) -> Path:
    """Take all room."""
    with (disk / "filler").open("wb", buffering=0) as file:
        for size in (2**16, 2**12, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
    return disk / "filler"


def detail(client: httpx.Client, created: httpx.Response) -> str:
    return str(client.get(created.headers["Location"]).json()["detail"])


def test_a_disk_that_refuses_costs_time_and_no_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where no disk can be mounted."""

    def refuse(files: Files, name: str, content: bytes) -> None:
        raise OSError(errno.ENOSPC, NO_ROOM)

    with gateway(tmp_path, backend := GatedBackend()) as client:
        created = create(client, ARCHIVE)
        with monkeypatch.context() as full:
            full.setattr(Files, "write", refuse)
            backend.open_for = COUNT
            until(lambda: NO_ROOM in detail(client, created))

        job = finished(client, created)
        assert (job["done"], job["failed"], job["detail"]) == (COUNT, 0, None)


@pytest.mark.skipif(not MAY_MOUNT, reason="only root mounts a disk")
def test_a_running_job_says_that_the_disk_is_full_and_goes_on_when_there_is_room(disk: Path) -> None:
    backend = GatedBackend()
    with gateway(disk / "state", backend) as client:
        created = create(client, ARCHIVE)
        until(lambda: client.get(created.headers["Location"]).json()["state"] == "running")
        filler = fill(disk)
        backend.open_for = COUNT

        until(lambda: NO_ROOM in detail(client, created), told=lambda: detail(client, created))
        filler.unlink()

        job = finished(client, created)
        assert (job["done"], job["failed"], job["detail"]) == (COUNT, 0, None)
        assert sorted(line["number"] for line in lines(client, job["id"])) == list(range(COUNT))


@pytest.mark.skipif(not MAY_MOUNT, reason="only root mounts a disk")
def test_jobs_are_erased_from_a_full_disk(disk: Path) -> None:
    with gateway(disk / "state") as client:
        job = finished(client, create(client, ARCHIVE))
        fill(disk)

        answer = client.delete("/v1/data")

        assert (answer.status_code, answer.json()["jobs"]) == (200, 1)
        assert not (disk / "state" / "jobs" / job["id"]).exists()


FULL = "Redis is full: it has used its maxmemory"
LOCKED = "database is locked"
DEADLINE = Settings().deadline_seconds
ONE = zipped({"a.png": PNG})  # no lanes that wait for the store, too


def degraded(client: httpx.Client) -> list[str]:
    parts: list[str] = client.get("/readyz").json()["degraded"]
    return parts


@contextmanager
def seen(client: httpx.Client, *parts: str) -> Iterator[None]:
    """Within the block the parts are degraded, and after it none is."""
    until(lambda: {*parts} <= {*degraded(client)}, told=lambda: degraded(client))
    yield
    until(lambda: not degraded(client), told=lambda: degraded(client))


def test_a_full_redis_is_named_and_can_be_erased_from(tmp_path: Path, redis_server: RedisServer) -> None:
    full = [f"{name}: {FULL}" for name in ("heads", "jobs", "vocabularies")]
    with (
        redis.Redis.from_url(redis_server.url) as store,
        gateway(tmp_path, redis_url=redis_server.url) as client,
    ):
        assert degraded(client) == []
        client.put("/v1/vocabularies/old", json={"classes": ["sky"]}).raise_for_status()
        client.post("/v1/heads", json=taught()).raise_for_status()
        job = finished(client, create(client, ONE))
        store.config_set("maxmemory", 1)

        with seen(client, *full):
            refused = create(client, ONE), client.put("/v1/vocabularies/mine", json={"classes": ["sky"]})
            erased = client.delete("/v1/data")
            store.config_set("maxmemory", 0)

        assert [answer.status_code for answer in refused] == [503, 503]
        assert all(FULL in answer.json()["detail"] for answer in refused)
        assert erased.status_code == 200, erased.text
        assert [erased.json()[kind] for kind in ("jobs", "heads", "vocabularies")] == [1, 1, 1]
        assert not (tmp_path / "jobs" / job["id"]).exists()
        assert create(client, ONE).status_code == 202


@pytest.mark.skipif(not MAY_MOUNT, reason="only root mounts a disk")
def test_a_full_disk_is_named(disk: Path) -> None:
    with gateway(disk / "state") as client:
        assert degraded(client) == []
        filler = fill(disk)

        with seen(client, f"state directory: {NO_ROOM}", f"files of jobs: {NO_ROOM}"):
            filler.unlink()


def test_a_locked_ledger_is_named_and_what_needs_it_is_refused_within_the_deadline(tmp_path: Path) -> None:
    with gateway(tmp_path) as client, closing(sqlite3.connect(tmp_path / "records.sqlite")) as other:
        listed = create(client, ONE).json()["id"]
        client.timeout = DEADLINE
        other.execute("BEGIN EXCLUSIVE")

        with seen(client, f"jobs: {LOCKED}"):
            refused: list[Any] = [create(client, ONE), client.delete("/v1/data")]
            jobs = client.get("/v1/jobs").json()["jobs"]
            other.rollback()

        assert [(answer.status_code, LOCKED in answer.json()["detail"]) for answer in refused] == [(503, True)] * 2
        assert [job["id"] for job in jobs] == [listed]
