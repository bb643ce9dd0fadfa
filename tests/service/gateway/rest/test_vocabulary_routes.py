from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from lexiseg_model.types import Background
from lexiseg_service.gateway.admission.key_file import line_of
from lexiseg_service.gateway.vocabularies import collection
from lexiseg_service.records.store import Amounts, Quota
from tests import pictures
from tests.service.gateway.known_backend import KnownBackend
from tests.service.gateway.serving import form, serving

ROOM: dict[str, Any] = {"classes": ["floor", {"name": "sofa", "synonyms": ["couch"], "threshold": 0.3}]}


def kind(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["type"]


async def test_the_list_holds_the_built_in_ones_and_the_users(client: httpx.AsyncClient) -> None:
    await client.put("/vocabularies/room", json=ROOM)

    found = {entry["name"]: entry for entry in (await client.get("/vocabularies")).json()["vocabularies"]}

    room = {"name": "room", "n_classes": 2, "background": True, "built_in": False, "source": None}
    assert found["room"] == {**room, "shared": True, "own": True}
    assert (found["ade20k"]["n_classes"], found["ade20k"]["built_in"]) == (150, True)
    assert len(found) == 15


async def test_what_a_get_tells_can_be_put_again_as_from_a_backup(client: httpx.AsyncClient) -> None:
    classes = ["floor", {"name": "sofa", "synonyms": ["couch"], "threshold": 0.3}]
    await client.put("/vocabularies/rooms", json={"classes": classes, "source": "a survey"})
    told = (await client.get("/vocabularies/rooms")).json()
    await client.delete("/vocabularies/rooms")

    assert (await client.put("/vocabularies/rooms", json=told)).status_code == 201
    assert (await client.get("/vocabularies/rooms")).json() == told
    assert (await client.put("/vocabularies/rooms", json=told | {"n_class": 2})).status_code == 422


async def test_built_in_vocabularies_stay(client: httpx.AsyncClient) -> None:
    assert kind(await client.put("/vocabularies/ade20k", json=ROOM)) == (403, "read-only")
    assert kind(await client.delete("/vocabularies/ade20k")) == (403, "read-only")


@pytest.mark.parametrize("name", ["Room", "-room", "living_room", "r" * 65, "r%00m", "..", "räume"])
async def test_a_name_that_is_none_is_refused(client: httpx.AsyncClient, name: str) -> None:
    answer = await client.put(f"/vocabularies/{name}" if name != ".." else "/vocabularies/%2e%2e", json=ROOM)

    assert answer.status_code in (404, 422) if name == ".." else kind(answer) == (422, "invalid-value")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "classes"),
        ({"classes": ["sky", "Sky "]}, "classes.1"),
        ({"classes": [{"name": "sky", "threshold": 0.3}], "background": False}, "classes.0.threshold"),
        ({"classes": ["sky"], "colour": "blue"}, "colour"),
        ({"classes": ["sky"], "source": " "}, "source"),
    ],
)
async def test_a_class_list_is_checked_like_a_requests(
    client: httpx.AsyncClient, body: dict[str, Any], field: str
) -> None:
    answer = await client.put("/vocabularies/room", json=body)

    assert kind(answer) == (422, "invalid-value")
    assert answer.json()["errors"][0]["field"] == field
    assert (await client.get("/vocabularies/room")).status_code == 404


async def test_there_is_room_for_so_many_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collection, "QUOTA", Quota(Amounts(), Amounts(number=1)))
    async with serving() as client:
        await client.put("/vocabularies/one", json=ROOM)
        second = await client.put("/vocabularies/two", json=ROOM)
        again = await client.put("/vocabularies/one", json=ROOM)

    assert (kind(second), again.status_code) == ((422, "invalid-value"), 200)


async def test_segment_takes_a_name_instead_of_classes(client: httpx.AsyncClient, backend: KnownBackend) -> None:
    await client.put("/vocabularies/room", json=ROOM)

    assert (await client.post("/segment", files=form(vocabulary="room"))).status_code == 200
    asked = backend.asked[0].vocabulary
    assert (asked.name, [entry.texts for entry in asked.classes]) == ("room", [("floor",), ("sofa", "couch")])


@pytest.mark.parametrize(
    ("name", "background", "rule"),
    [
        ("voc21", None, Background()), ("cityscapes", None, None), ("cityscapes", "true", Background()),
        ("voc21", "false", None), ("cityscapes", '{"words": ["wall"]}', Background(("wall",))),
    ],
)  # fmt: skip
async def test_a_vocabularys_own_background_holds_unless_the_request_says(
    client: httpx.AsyncClient, backend: KnownBackend, name: str, background: str | None, rule: Background | None
) -> None:
    said = {} if background is None else {"background": background}

    await client.post("/segment", files=form(vocabulary=name, **said))

    assert backend.asked[0].vocabulary.background == rule


async def test_a_list_is_its_keys_until_it_is_shared() -> None:
    scopes = ["vocabularies", "segment"]
    lines = "\n".join(line_of(name, key, scopes) for name, key in (("one", "a"), ("other", "b")))
    one, other = {"X-API-Key": "a"}, {"X-API-Key": "b"}
    async with serving(api_keys=SecretStr(lines)) as client:
        made = await client.put("/vocabularies/room", json=ROOM, headers=one)
        unknown = await client.get("/vocabularies/room", headers=other)
        asked = await client.post(
            "/segment", files={"image": pictures.encoded(pictures.small())}, data={"vocabulary": "room"}, headers=other
        )
        shared = await client.put("/vocabularies/room", json={**ROOM, "shared": True}, headers=one)
        found = await client.get("/vocabularies/room", headers=other)
        refused = await client.delete("/vocabularies/room", headers=other)
        replaced = await client.put("/vocabularies/room", json={**ROOM, "shared": True}, headers=other)
        again = await client.put("/vocabularies/room", json=ROOM, headers=one)  # it stays shared

    assert (made.status_code, made.json()["shared"], made.json()["own"]) == (201, False, True)
    assert kind(unknown) == kind(asked) == (404, "unknown-vocabulary")
    assert shared.status_code == 200
    assert (found.json()["shared"], found.json()["own"]) == (True, False)
    assert kind(refused) == kind(replaced) == (403, "not-allowed")
    assert again.json()["shared"] is True
