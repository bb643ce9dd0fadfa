"""What every kind of document has in every store: an owner, a limit, writers that exclude each other, an expiry."""

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import redis
from structlog.testing import capture_logs

from lexiseg_service.errors import InvalidValue
from lexiseg_service.records.documents import HEADS, VOCABULARIES, Documents, open_documents
from lexiseg_service.records.store import Amounts, Quota, Record
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics
from tests.redis_server import RedisServer


class Opened:
    """The documents of one kind in one store, as processes open them."""

    def __init__(self, kind: str, **settings: Any) -> None:
        self.kind = kind
        self._settings = settings
        self._open: list[Documents] = []

    def __call__(self) -> Documents:
        self._open.append(open_documents(self.kind, Settings(**self._settings), Metrics()))
        return self._open[-1]

    async def close(self) -> None:
        for documents in self._open:
            await documents.close()


@pytest.fixture(params=[VOCABULARIES, HEADS])
async def opened(request: pytest.FixtureRequest, tmp_path: Path, store: dict[str, Any]) -> AsyncIterator[Opened]:
    opened = Opened(request.param, state_dir=tmp_path, **store)
    yield opened
    await opened.close()


async def test_a_write_on_something_else_changes_nothing(opened: Opened) -> None:
    one, other = opened(), opened()
    assert await one.replace("room", None, b"1")

    assert not await other.replace("room", None, b"2")
    assert not await other.replace("room", b"0", None)
    assert await other.replace("room", b"0", b"1")  # there already: the answer to an earlier try was lost
    assert await other.read("room") == b"1"
    assert await other.replace("room", b"1", None)
    assert (await one.read("room"), await one.read_all(), await one.rows()) == (None, {}, {})


async def test_one_key_takes_no_place_of_anothers_and_none_by_what_has_expired(opened: Opened) -> None:
    documents, quota = opened(), Quota(Amounts(number=2), Amounts(number=3))

    async def write(owner: str, name: str, expires: float | None = None) -> bool:
        record = Record(opened.kind, f"{owner}~{name}", owner, expires=expires)
        return await documents.replace(record.id, None, b"1", record, quota)

    assert await write("ann", "past", time.time() - 1)
    assert await write("ann", "one")
    await documents.write_parts("ann~begun", {"a": b"part"})  # whose document may be refused
    assert await write("ann", "two")
    with pytest.raises(InvalidValue, match=r"at most 2 \w+ of one key; delete one first"):
        await write("ann", "three")
    assert await write("bob", "one")
    with pytest.raises(InvalidValue, match=r"at most 3 \w+; delete one first"):
        await write("bob", "two")


async def test_parts_are_removed_with_their_document(opened: Opened) -> None:
    documents = opened()
    await documents.write_parts("room", {f"{number}": b"part" for number in range(20)})
    await documents.replace("room", None, b"1")
    await documents.write_parts("left", {"a": b"part", "b": b"part"})  # by a process that was killed then

    assert len(await documents.read_parts("room", [f"{number}" for number in range(30)])) == 20
    assert {slot: len(names) for slot, names in (await opened().part_names()).items()} == {"room": 20, "left": 2}
    await documents.replace("room", b"1", None)
    await documents.remove_parts("left", ["a"])
    assert await documents.part_names() == {"left": ["b"]}
    await documents.remove_parts("left", ["b"])
    assert (await documents.part_names(), await documents.rows()) == ({}, {})


async def test_the_files_of_0_4_become_records(tmp_path: Path) -> None:
    folder = tmp_path / "heads"
    (folder / "ann~mugs").mkdir(parents=True)
    (folder / "ann~mugs" / "1").write_bytes(b"lesson")
    (folder / "ann~mugs.json").write_bytes(b"{}")
    (folder / "Not A Name.json").write_bytes(b"{}")
    opened = Opened(HEADS, state_dir=tmp_path)

    with capture_logs() as lines:
        documents = opened()

    assert await documents.read_all() == {"ann~mugs": b"{}"}
    assert await documents.read_parts("ann~mugs", ["1"]) == {"1": b"lesson"}
    assert [path.name for path in folder.iterdir()] == ["Not A Name.json"]
    assert [line["file"] for line in lines] == ["Not A Name.json"]
    await opened.close()


async def test_the_keys_of_0_4_are_read_and_a_gateway_of_0_4_reads_ours(shared_redis: RedisServer) -> None:
    opened = Opened(HEADS, redis_url=shared_redis.url)
    with redis.Redis(port=shared_redis.port) as inside:
        inside.flushall()
        inside.sadd("lexiseg:heads", "ann~mugs", "bob~cups")
        inside.mset({"lexiseg:head:ann~mugs": b"{}", "lexiseg:head:bob~cups": b"{}"})
        inside.hset("lexiseg:heads:rows", "ann~mugs", orjson.dumps(["v1", 3, 120, 7.5, None]))
        documents = opened()

        rows = await documents.rows()
        await documents.replace("cat", None, b"1", Record(HEADS, "cat", "", "2", "v2", 9.5, 80))

        assert rows == {
            "ann~mugs": Record(HEADS, "ann~mugs", "ann", "3", "v1", None, 120),
            "bob~cups": Record(HEADS, "bob~cups", "bob"),
        }
        row: Any = inside.hget("lexiseg:heads:rows", "cat")
        assert orjson.loads(row) == ["v2", "2", 80, 0, 9.5]
        assert inside.sismember("lexiseg:heads", "cat")
        assert {inside.ttl(key) for key in inside.keys()} == {-1}  # Redis evicts none of them
    await opened.close()
