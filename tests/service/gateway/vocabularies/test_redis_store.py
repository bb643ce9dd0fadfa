"""Vocabularies that several gateways keep in one Redis."""

from collections.abc import Callable

import pytest
import redis

from lexiseg_service.errors import NotReady, UnknownVocabulary
from lexiseg_service.gateway.admission.access import Caller
from lexiseg_service.gateway.preconditions import Preconditions
from lexiseg_service.gateway.vocabularies.collection import Vocabularies
from lexiseg_service.gateway.vocabularies.schemas import VocabularyInput
from lexiseg_service.records.documents import VOCABULARIES, Documents
from lexiseg_service.records.redis_store import RedisStore
from lexiseg_service.records.store import StoreAway
from lexiseg_service.redis_link import RedisLink
from lexiseg_service.settings import Limits
from tests.redis_server import RedisServer

ANY = Preconditions()
INDEX, KEY = "lexiseg:vocabularies", "lexiseg:vocabulary:"
SHORT = 1.0  # seconds that a call to an ill Redis may take


ROOM = VocabularyInput(classes=["floor", "lamp"])
PRIVATE = VocabularyInput(classes=["floor", "lamp"], shared=False)


@pytest.fixture
def gateway(link: Callable[..., RedisLink]) -> Callable[..., Vocabularies]:
    def make(*timeout: float) -> Vocabularies:
        store = RedisStore(link(*timeout))
        return Vocabularies(Documents(VOCABULARIES, store, checks={"vocabularies": store.check}), Limits())

    return make


async def test_a_write_goes_on_from_what_is_there_while_reads_still_fail(
    link: Callable[..., RedisLink], inside: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    small, large = RedisStore(link()), RedisStore(link())
    vocabularies = Vocabularies(Documents(VOCABULARIES, small, large), Limits())
    await vocabularies.store.start()
    await vocabularies.put("room", ROOM, ANY)

    def away(read: object) -> None:
        raise StoreAway("it does not answer")

    monkeypatch.setattr(small, "view", away)  # its breaker is open for longer than that of `large`
    inside.flushall()  # as a restart without a file
    kept, _ = await vocabularies.put("room", VocabularyInput(classes=["rug"]), ANY)

    assert (await vocabularies.find("room")).etag == kept.etag
    await vocabularies.store.close()


@pytest.mark.parametrize("ill", ["kill", "pause"])
async def test_reads_go_on_and_writes_say_so_while_redis_is_away(
    gateway: Callable[..., Vocabularies], redis_server: RedisServer, ill: str
) -> None:
    await gateway().put("room", ROOM, ANY)
    vocabularies = gateway(SHORT)
    await vocabularies.store.start()
    getattr(redis_server, ill)()

    found = [await vocabularies.find("room") for _ in range(5)]
    with pytest.raises(NotReady):
        await vocabularies.put("other", ROOM, ANY)
    with pytest.raises(StoreAway, match="Redis does not answer"):
        vocabularies.store.checks["vocabularies"]()
    listed = await vocabularies.list_all()
    await vocabularies.store.close()

    assert {each.name for each in found} == {"room"}
    assert "room" in [each.name for each in listed]


@pytest.mark.parametrize("refuses", ["full", "a replica"])
async def test_while_redis_refuses_writes_vocabularies_are_read(
    gateway: Callable[..., Vocabularies], inside: redis.Redis, refuses: str
) -> None:
    vocabularies = gateway()
    await vocabularies.put("room", ROOM, ANY)
    if refuses == "full":
        inside.config_set("maxmemory", "1")
    else:
        inside.replicaof("127.0.0.1", "1")

    with pytest.raises(NotReady, match="'other': the store cannot be written"):  # without the owner
        await vocabularies.put("other", PRIVATE, ANY, Caller(owner="ann"))

    assert (await vocabularies.find("room")).name == "room"


async def test_nobody_is_told_that_a_vocabulary_is_unknown_while_nobody_knows(
    gateway: Callable[..., Vocabularies], redis_server: RedisServer
) -> None:
    redis_server.kill()
    vocabularies = gateway(SHORT)
    await vocabularies.store.start()

    with pytest.raises(NotReady):
        await vocabularies.find("room")
    built_in = await vocabularies.find("ade20k")
    await vocabularies.store.close()

    assert built_in.built_in


async def test_foreign_values_are_nobodys_vocabularies(
    gateway: Callable[..., Vocabularies], inside: redis.Redis
) -> None:
    inside.lpush(f"{KEY}list", "x")
    inside.set(f"{KEY}text", b"\xff\x00")
    inside.sadd(INDEX, "list", "text", "gone", b"\xff", "No Name")
    vocabularies = gateway()

    listed = [each.name for each in await vocabularies.list_all() if not each.built_in]
    for name in ("list", "text", "gone"):
        with pytest.raises(UnknownVocabulary):
            await vocabularies.find(name)

    assert listed == []
    vocabularies.store.checks["vocabularies"]()
