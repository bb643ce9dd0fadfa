"""A store that takes no writes: /readyz says what and why, and requests are refused in time."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from lexiseg_service.settings import Settings
from tests.redis_server import RedisServer
from tests.service.batch.http.asking import PNG, create, finished, gateway, zipped
from tests.service.batch.http.test_full_disk import MAY_MOUNT, NO_ROOM, fill
from tests.service.batch.http.test_full_disk import disk as disk
from tests.service.gateway.rest.test_head_routes import taught
from tests.waiting import until

ARCHIVE = zipped({"a.png": PNG})
FULL = "Redis is full: it has used its maxmemory"
LOCKED = "database is locked"
DEADLINE = Settings().deadline_seconds


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
        job = finished(client, create(client, ARCHIVE))
        store.config_set("maxmemory", 1)

        with seen(client, *full):
            refused = create(client, ARCHIVE), client.put("/v1/vocabularies/mine", json={"classes": ["sky"]})
            erased = client.delete("/v1/data")
            store.config_set("maxmemory", 0)

        assert [answer.status_code for answer in refused] == [503, 503]
        assert all(FULL in answer.json()["detail"] for answer in refused)
        assert erased.status_code == 200, erased.text
        assert [erased.json()[kind] for kind in ("jobs", "heads", "vocabularies")] == [1, 1, 1]
        assert not (tmp_path / "jobs" / job["id"]).exists()
        assert create(client, ARCHIVE).status_code == 202


@pytest.mark.skipif(not MAY_MOUNT, reason="only root mounts a disk")
def test_a_full_disk_is_named(disk: Path) -> None:
    with gateway(disk / "state") as client:
        assert degraded(client) == []
        filler = fill(disk)

        with seen(client, f"state directory: {NO_ROOM}", f"files of jobs: {NO_ROOM}"):
            filler.unlink()


def test_a_locked_ledger_is_named_and_what_needs_it_is_refused_within_the_deadline(tmp_path: Path) -> None:
    with gateway(tmp_path) as client, closing(sqlite3.connect(tmp_path / "records.sqlite")) as other:
        listed = create(client, ARCHIVE).json()["id"]
        client.timeout = DEADLINE
        other.execute("BEGIN EXCLUSIVE")

        with seen(client, f"jobs: {LOCKED}"):
            refused: list[Any] = [create(client, ARCHIVE), client.delete("/v1/data")]
            jobs = client.get("/v1/jobs").json()["jobs"]
            other.rollback()

        assert [(answer.status_code, LOCKED in answer.json()["detail"]) for answer in refused] == [(503, True)] * 2
        assert [job["id"] for job in jobs] == [listed]
