"""What a broken or failed write of a head leaves is removed, by sweeps and by erasure, which counts it."""

import fcntl
import os
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from lexiseg_service.gateway.heads import collection, reviewed_set
from lexiseg_service.gateway.heads.collection import Heads
from lexiseg_service.gateway.heads.reviewed_set import ArchiveDesk
from lexiseg_service.records import documents
from lexiseg_service.records.documents import HEADS, Documents, open_documents
from lexiseg_service.records.store import StoreAway
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics
from tests.redis_server import RedisServer
from tests.service.gateway.known_backend import KnownBackend
from tests.service.gateway.rest.test_head_routes import picture, refusal, taught
from tests.service.gateway.serving import on_ports, serving


@pytest.fixture(params=["state_dir", "redis_url"])
def kept(request: pytest.FixtureRequest, tmp_path: Path, redis_server: RedisServer) -> dict[str, Any]:
    """The setting of where heads are kept."""
    return {request.param: tmp_path if request.param == "state_dir" else redis_server.url}


async def parts_of(settings: dict[str, Any]) -> list[str]:
    """The names of all lessons that are kept."""
    store = open_documents(HEADS, Settings(**settings), Metrics())
    names = await store.part_names()
    await store.close()
    return [name for of_slot in names.values() for name in of_slot]


async def break_a_write(settings: dict[str, Any]) -> None:
    """Teach the head `mugs`, which ends between the write of its lessons and that of its document."""

    async def end(*_: object) -> None:
        raise RuntimeError("it was killed")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Documents, "replace", end)
        async with serving(**settings) as client:
            assert (await client.post("/v1/heads", json=taught("mug", "saucer"))).status_code == 500


async def test_erasure_removes_and_counts_what_a_broken_write_left(kept: dict[str, Any]) -> None:
    async with serving(**kept) as client:
        await client.post("/v1/heads", json=taught(name="whole"))
    await break_a_write(kept)
    assert len(await parts_of(kept)) == 3

    async with serving(**kept) as client:
        listed = (await client.get("/v1/heads")).json()["heads"]
        erased = await client.delete("/v1/data")

    assert [head["name"] for head in listed] == ["whole"]
    assert (erased.json()["leftovers"], erased.json()["heads"]) == (2, 1)
    assert await parts_of(kept) == []


async def test_a_sweep_removes_what_no_head_has_once_it_is_old(
    kept: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(**kept) as client:
        await client.post("/v1/heads", json=taught(name="whole"))
    await break_a_write(kept)

    store = open_documents(HEADS, Settings(**kept), Metrics())
    heads = Heads(store, Metrics())
    young = await heads.remove_leftovers()
    monkeypatch.setattr(collection, "WRITE_SECONDS", 0)
    old = await heads.remove_leftovers()

    assert (young, old) == (0, 2)
    assert len(await parts_of(kept)) == 1
    assert (await heads.find("whole", "")).pictures
    await store.close()


async def test_a_redis_that_stops_within_a_write_keeps_nothing_of_it(
    redis_server: RedisServer, inside: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(documents, "LARGE_TIMEOUT_SECONDS", 0.05)
    monkeypatch.setattr(documents, "MAX_PARTS", 1)
    change = Documents._change
    settings: dict[str, Any] = {"redis_url": redis_server.url}

    async def stop(store: Documents, slot: str, work: Any) -> Any:
        result = await change(store, slot, work)
        redis_server.pause()
        return result

    async with serving(**settings) as client:
        before = (await client.post("/v1/heads", json=taught())).json()
        with monkeypatch.context() as stopping:
            stopping.setattr(Documents, "_change", stop)
            failed = await client.put("/v1/heads/mugs", json={"pictures": [picture(4), picture(5)]})
        redis_server.resume()
        inside.ping()
        monkeypatch.setattr(collection, "WRITE_SECONDS", 0)
        await Heads(
            open_documents(HEADS, Settings(redis_url=redis_server.url), Metrics()), Metrics()
        ).remove_leftovers()

    assert refusal(failed)[:2] == (503, "not-ready")
    assert len(await parts_of(settings)) == 1
    async with serving(**settings) as client:
        assert (await client.get("/v1/heads/mugs")).json() == before


def test_a_head_that_another_gateway_changed_is_asked_for_again_where_reads_are_slow(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> None:
        raise StoreAway("it does not answer")

    backend, settings = KnownBackend(), {"redis_url": redis_server.url}
    with on_ports(backend, **settings) as ports, on_ports(backend, **settings) as others:
        httpx.post(f"{ports.url}/v1/heads", json=taught()).raise_for_status()
        changed = {"pictures": [picture(0, "saucer")]}
        httpx.put(f"{others.url}/v1/heads/mugs", json=changed).raise_for_status()
        monkeypatch.setattr(Documents, "_view", away)
        exported = [httpx.get(f"{ports.url}/v1/heads/mugs?export=1") for _ in range(2)]

    assert [answer.status_code for answer in exported] == [503, 200]


async def test_the_pictures_of_an_archive_that_was_being_read_are_removed_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = (".archive-~dead", ".archive-~read", ".archive-ann~dead")
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "archive.zip").write_bytes(b"pictures")
    in_use = os.open(tmp_path / names[1], os.O_RDONLY)
    fcntl.flock(in_use, fcntl.LOCK_EX)
    monkeypatch.setattr(reviewed_set, "START_SECONDS", -1.0)

    async with serving(state_dir=tmp_path, backend=KnownBackend()) as client:
        erased = (await client.delete("/v1/data")).json()
    left = {path.name for path in tmp_path.glob(".archive-*")}
    os.close(in_use)
    swept = ArchiveDesk(tmp_path).remove_leftovers()

    assert erased["leftovers"] == 1
    assert left == {names[1], names[2]}
    assert (swept, [*tmp_path.glob(".archive-*")]) == (2, [])


def test_parts_without_a_time_are_old() -> None:
    assert collection._is_old("f" * 32)
    assert collection._is_old("lesson.new")
    assert not collection._is_old(f"{int(time.time()):08x}{'0' * 24}")
