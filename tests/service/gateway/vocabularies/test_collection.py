from typing import Any

import pytest
from structlog.testing import capture_logs

from lexiseg_service.errors import PreconditionFailed, UnknownVocabulary
from lexiseg_service.gateway.preconditions import Preconditions
from lexiseg_service.gateway.vocabularies.collection import Vocabularies
from lexiseg_service.gateway.vocabularies.named import BUILT_IN_NAMES, built_in
from lexiseg_service.gateway.vocabularies.schemas import VocabularyInput
from lexiseg_service.records.documents import NAME, VOCABULARIES, Documents
from lexiseg_service.records.sqlite import SqliteStore
from lexiseg_service.settings import Limits

ANY = Preconditions()
SKY = VocabularyInput(classes=["sky"])
DAMAGED = [
    b"", b"{", b"[]", b"\xff", b'{"classes": ["a", "A"]}', b'{"classes": 1}', b'{"classes": ["\\ud800"]}', b"null",
]  # fmt: skip


class Overtaken(Documents):
    """Somebody else writes between each read and write, `times` times."""

    def __init__(self, times: int) -> None:
        super().__init__(VOCABULARIES, SqliteStore(None))
        self._times = times

    async def replace(self, slot: str, old: bytes | None, new: bytes | None, *columns: Any) -> bool:
        if self._times:
            self._times -= 1
            await super().replace(slot, await self.read(slot), b'{"classes": ["other %d"]}' % self._times)
        return await super().replace(slot, old, new, *columns)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("cityscape", "there is none called 'cityscape'; is 'cityscapes' meant? GET /v1/vocabularies lists all"),
        ("kitchen", "there is none called 'kitchen'; built in are voc20, voc21, .*; GET /v1/vocabularies lists all"),
    ],
)
async def test_an_unknown_name_is_answered_with_the_nearest_one_or_all_that_are_built_in(name: str, said: str) -> None:
    with pytest.raises(UnknownVocabulary, match=said.replace("?", "[?]")):
        await Vocabularies(Documents(VOCABULARIES, SqliteStore(None)), Limits()).find(name)


@pytest.mark.parametrize("content", DAMAGED)
async def test_a_damaged_document_is_skipped_with_one_line_in_the_log(content: bytes) -> None:
    vocabularies = Vocabularies(Documents(VOCABULARIES, SqliteStore(None)), Limits())
    await vocabularies.store.replace("room", None, content)

    with capture_logs() as lines:
        for _ in range(3):
            with pytest.raises(UnknownVocabulary):
                await vocabularies.find("room")
        names = [found.name for found in await vocabularies.list_all()]

    assert "room" not in names
    assert [line["vocabulary"] for line in lines] == ["room"]


async def test_a_writer_that_is_overtaken_writes_again() -> None:
    vocabularies = Vocabularies(Overtaken(2), Limits())

    _, created = await vocabularies.put("room", SKY, ANY)

    assert not created
    assert (await vocabularies.find("room")).vocabulary.classes[0].name == "sky"


async def test_a_condition_is_checked_against_the_one_that_overtook() -> None:
    vocabularies = Vocabularies(Overtaken(1), Limits())

    with pytest.raises(PreconditionFailed):
        await vocabularies.put("room", SKY, Preconditions(if_none_match="*"))

    assert (await vocabularies.find("room")).vocabulary.classes[0].name == "other 0"


IDENTIFIERS = ("-other", "-merged", "-stuff")  # are no words
# Classes; things and stuff, of the benchmarks that tell them apart.
SIZES = {
    "voc20": (20, 20, 0), "voc21": (20, 20, 0), "context59": (59,), "context60": (59,), "coco-object": (80, 80, 0),
    "coco-stuff": (171, 80, 91), "coco-panoptic": (133, 80, 53), "cityscapes": (19, 8, 11), "ade20k": (150, 100, 50),
    "ade847": (847,), "pc459": (459,), "lvis": (1203, 1203, 0), "imagenet-s": (919,), "camvid": (11,),
}  # fmt: skip
WITH_BACKGROUND = {"voc21", "context60", "coco-object", "imagenet-s"}


@pytest.mark.parametrize("name", BUILT_IN_NAMES)
def test_each_list_has_the_classes_of_its_benchmark_by_the_rules_of_a_request(name: str) -> None:
    listed = built_in(name)  # checks as it reads

    assert listed is not None
    assert listed.source
    assert NAME.fullmatch(name)
    assert (listed.vocabulary.background is not None) is (name in WITH_BACKGROUND)
    number, *counts = SIZES[name]
    classes = listed.vocabulary.classes
    kinds = [entry.thing for entry in classes]
    assert len(classes) == number <= Limits().max_classes
    assert not counts or [kinds.count(True), kinds.count(False)] == counts
    assert [entry.name for entry in classes if "_" in entry.name or entry.name.endswith(IDENTIFIERS)] == []
