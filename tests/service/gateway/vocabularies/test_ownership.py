"""Vocabularies of API keys: private to a key, or shared with all and changed by their owner."""

import pytest

from lexiseg_service.errors import UnknownVocabulary
from lexiseg_service.gateway.admission.access import Caller
from lexiseg_service.gateway.preconditions import Preconditions
from lexiseg_service.gateway.vocabularies.collection import Vocabularies
from lexiseg_service.gateway.vocabularies.schemas import VocabularyInput
from lexiseg_service.records.documents import VOCABULARIES, Documents
from lexiseg_service.records.sqlite import SqliteStore
from lexiseg_service.settings import Limits

ANY = Preconditions()
ONE, OTHER = Caller("one"), Caller("other")


def classes(*names: str, shared: bool | None = None) -> VocabularyInput:
    return VocabularyInput(classes=list(names), shared=shared)


def collection() -> Vocabularies:
    return Vocabularies(Documents(VOCABULARIES, SqliteStore(None)), Limits())


async def first_class(vocabularies: Vocabularies, key: str) -> str:
    return (await vocabularies.find("room", key)).vocabulary.classes[0].name


async def names_of(vocabularies: Vocabularies, key: str) -> list[str]:
    return [each.name for each in await vocabularies.list_all(key) if not each.built_in]


class Moving(Documents):
    """Another gateway moves a list of a key from its shared side to its own between two reads."""

    is_moving = False

    async def read(self, slot: str) -> bytes | None:
        content = await super().read(slot)
        if self.is_moving and slot == "one~room" and content is None and (shared := await super().read("room")):
            await self.replace(slot, None, shared)
            await self.replace("room", shared, None)
        return content


async def test_a_vocabulary_that_becomes_unshared_is_never_missing() -> None:
    documents = Moving(VOCABULARIES, SqliteStore(None))
    moving = Vocabularies(documents, Limits())
    await moving.put("room", classes("sofa", shared=True), ANY, ONE)
    documents.is_moving = True

    assert await first_class(moving, "one") == "sofa"
    for name, key in (("room", "other"), ("room", ""), ("one~room", "other")):
        with pytest.raises(UnknownVocabulary):
            await moving.find(name, key)


@pytest.mark.parametrize("shared", [True, False])
async def test_a_key_s_own_list_stands_beside_that_of_another_key(shared: bool) -> None:
    vocabularies = collection()
    await vocabularies.put("room", classes("sofa", shared=shared), ANY, ONE)

    _, created = await vocabularies.put("room", classes("lamp"), Preconditions(if_none_match="*"), OTHER)

    assert created
    assert await first_class(vocabularies, "other") == "lamp"
    assert await first_class(vocabularies, "one") == "sofa"
    assert await names_of(vocabularies, "other") == ["room"]


@pytest.mark.parametrize("shared", [True, False])
async def test_a_vocabulary_that_becomes_shared_or_unshared_is_kept_once(shared: bool) -> None:
    vocabularies = collection()
    first, _ = await vocabularies.put("room", classes("sofa", shared=not shared), ANY, ONE)

    moved, created = await vocabularies.put(
        "room", classes("sofa", shared=shared), Preconditions(if_match=first.etag), ONE
    )

    assert (created, moved.shared, moved.etag == first.etag) == (False, shared, False)
    assert await names_of(vocabularies, "other") == (["room"] if shared else [])
    await vocabularies.delete("room", ANY, ONE)
    with pytest.raises(UnknownVocabulary):
        await vocabularies.find("room", "one")


async def test_vocabularies_from_before_keys_are_shared_and_changeable_by_all() -> None:
    vocabularies = collection()
    await vocabularies.store.replace("room", None, b'{"classes": ["sofa"]}')

    assert await first_class(vocabularies, "one") == "sofa"
    await vocabularies.put("room", classes("lamp"), ANY, OTHER)
    await vocabularies.put("room", classes("chair"), ANY, ONE)

    assert await first_class(vocabularies, "") == "chair"
