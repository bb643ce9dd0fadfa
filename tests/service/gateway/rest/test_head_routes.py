"""Heads over REST, taught by a backend whose lessons are known."""

import asyncio
import io
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from lexiseg_model.vocabulary.heads import MAX_CLASSES, MAX_PICTURES, OTHER_RULES
from lexiseg_service.errors import UndecodableImage
from lexiseg_service.gateway.admission.key_file import line_of
from lexiseg_service.gateway.heads import collection, reviewed_set
from lexiseg_service.gateway.heads import head as heads
from lexiseg_service.gateway.times import rfc3339
from lexiseg_service.records.documents import Documents
from lexiseg_service.settings import Limits
from tests.service.gateway.known_backend import KnownBackend
from tests.service.gateway.serving import form, serving

BINARY = {"Content-Type": "application/octet-stream"}
BOX = [0, 0, 2, 2]
MASK = {"size": [4, 4], "counts": "088"}


def picture(number: int, label: str | None = "mug", **fields: Any) -> dict[str, Any]:
    return {"image": {"id": f"{number:032}"}, "objects": [{"class": label, "box": BOX}], **fields}


def taught(*labels: str, name: str = "mugs", **fields: Any) -> dict[str, Any]:
    """The body of a new head, with a picture for each label."""
    pictures = [picture(number, label) for number, label in enumerate(labels or ("mug",))]
    return {"name": name, "classes": ["mug", {"name": "saucer", "synonyms": ["plate"]}], "pictures": pictures, **fields}


def refusal(answer: httpx.Response) -> tuple[int, str, str]:
    problem = answer.json()
    return answer.status_code, problem["type"], problem["detail"]


async def test_a_head_is_made_listed_and_deleted(client: httpx.AsyncClient) -> None:
    made = await client.post("/v1/heads", json=taught("mug", "mug", "saucer"))

    assert (made.status_code, made.headers["location"]) == (201, "/v1/heads/mugs")
    head = made.json()
    assert (head["name"], head["model"], head["pictures"]) == ("mugs", "colours@1", 3)
    assert [(each["name"], each["pictures"]) for each in head["classes"]] == [("mug", 2), ("saucer", 1)]
    assert head["keys"] == [f"{number:032}" for number in range(3)]
    assert [warning["type"] for warning in head["warnings"]] == ["few-pictures"]
    assert (await client.get("/v1/heads/mugs")).json() == head
    assert (await client.get("/v1/heads")).json()["heads"][0]["version"] == head["version"]
    assert (await client.delete("/v1/heads/mugs")).status_code == 204
    assert refusal(await client.get("/v1/heads/mugs"))[:2] == (404, "unknown-head")


async def test_a_picture_is_replaced_by_its_key_and_taken_out(client: httpx.AsyncClient) -> None:
    await client.post("/v1/heads", json=taught("mug", "mug"))
    first = f"{0:032}"

    corrected = await client.put("/v1/heads/mugs", json={"pictures": [picture(7, "saucer", key=first)]})
    without = await client.put("/v1/heads/mugs", json={"remove": [first]})
    wrong = await client.put("/v1/heads/mugs", json={"remove": [first]})

    assert [entry["pictures"] for entry in corrected.json()["classes"]] == [1, 1]
    assert [entry["pictures"] for entry in without.json()["classes"]] == [1, 0]
    assert without.json()["keys"] == [f"{1:032}"]
    assert refusal(wrong)[2] == f"remove: expected keys of pictures of the head, got '{first}'"


async def test_equal_pictures_make_equal_versions_and_classes_are_added(client: httpx.AsyncClient) -> None:
    first = (await client.post("/v1/heads", json=taught("mug"))).json()["version"]
    changed = (
        await client.put("/v1/heads/mugs", json={"classes": ["spoon"], "pictures": [picture(5, "spoon")]})
    ).json()
    back = (await client.put("/v1/heads/mugs", json={"remove": [f"{5:032}"]})).json()

    assert [entry["name"] for entry in changed["classes"]] == ["mug", "saucer", "spoon"]
    assert len({first, changed["version"], back["version"]}) == 3  # a class more is another head
    assert (await client.put("/v1/heads/same", json=taught("mug", name="same"))).json()["version"] == first


async def test_only_what_was_looked_for_goes_to_a_worker(client: httpx.AsyncClient, backend: KnownBackend) -> None:
    body = taught()
    body["pictures"] = [
        picture(1, None, reviewed=["Saucer"]),
        {"image": {"id": "2" * 32}, "objects": [{"class": "mug", "mask": MASK}], "reviewed": ["saucer"]},
    ]

    assert (await client.post("/v1/heads", json=body)).status_code == 201

    asked = [[entry.name for entry in request.vocabulary.classes] for request in backend.asked]
    assert sorted(asked) == [["mug", "saucer"], ["saucer"]]
    assert sorted(request.region_classes or () for request in backend.asked) == [(-1,), (0,)]


async def test_a_question_takes_the_classes_of_a_head_before_its_own(
    client: httpx.AsyncClient, backend: KnownBackend
) -> None:
    await client.post("/v1/heads", json=taught())

    answer = await client.post("/v1/segment", files=form("sky", "MUG", head="mugs"))
    alone = await client.post("/v1/segment", files=form(head="mugs"))

    assert (answer.status_code, alone.status_code) == (200, 200)
    mixed, own = (request.vocabulary.classes for request in backend.asked[-2:])
    assert [(entry.name, entry.is_taught) for entry in mixed] == [("mug", True), ("saucer", False), ("sky", False)]
    assert [entry.name for entry in own] == ["mug", "saucer"]
    assert mixed[1].synonyms == ("plate",)
    assert backend.asked[-1].model == "colours@1"


async def test_a_class_that_no_picture_shows_is_asked_as_the_question_says(
    client: httpx.AsyncClient, backend: KnownBackend
) -> None:
    await client.post("/v1/heads", json=taught())
    words = [{"name": "MUG", "synonyms": ["beaker"]}, {"name": "Saucer", "synonyms": ["dish"], "threshold": 0.4}]

    answer = await client.post("/v1/segment", json={"image": {"id": "1"}, "head": "mugs", "classes": words})

    assert answer.status_code == 200
    mug, saucer = backend.asked[-1].vocabulary.classes
    assert (mug.name, mug.synonyms, mug.is_taught) == ("mug", (), True)
    assert (saucer.name, saucer.synonyms, saucer.threshold, saucer.is_taught) == ("saucer", ("dish",), 0.4, False)


async def test_a_question_may_name_a_version_of_a_head_after_the_next_ones_came(
    backend: KnownBackend, tmp_path: Path
) -> None:
    async with serving(backend=backend, state_dir=tmp_path) as client:
        version = (await client.post("/v1/heads", json=taught())).json()["version"]
        for number in (1, 2):
            await client.put("/v1/heads/mugs", json={"pictures": [picture(number, "saucer")]})
    async with serving(backend=backend, state_dir=tmp_path) as client:
        answer = await client.post("/v1/segment", files=form(head=f"mugs@{version}"))

    assert answer.status_code == 200, answer.text
    assert [entry.is_taught for entry in backend.asked[-1].vocabulary.classes] == [True, False]


@pytest.mark.parametrize("limit", ["EARLIER_DAYS", "MAX_EARLIER_BYTES"])
async def test_earlier_versions_of_a_head_are_kept_within_limits(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(heads, limit, 0)
    version = (await client.post("/v1/heads", json=taught())).json()["version"]
    await client.put("/v1/heads/mugs", json={"pictures": [picture(9, "saucer")]})

    status, kind, detail = refusal(await client.post("/v1/segment", files=form(head=f"mugs@{version}")))

    assert (status, kind) == (404, "unknown-head")
    assert f"not '{version}'" in detail


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no classes": (taught(classes=[]), "classes: expected at least one class of a head, got '[]'"),
    "2,000 classes": (
        taught(classes=[f"class {number}" for number in range(2000)]),
        f"classes: expected at most {MAX_CLASSES} of a head, got '2000 classes'",
    ),
    "5,000 pictures": (
        taught(pictures=[picture(number) for number in range(5000)]),
        f"pictures: expected at most {MAX_PICTURES} of a head, got '5000 pictures'",
    ),
    "no days": (taught(keep_days=0), "keep_days: expected greater than or equal to 1, got 0"),
    "no pictures": (taught(pictures=[]), "pictures: expected at least one reviewed picture; DELETE"),
    "a class that is none": (
        taught("cup"),
        "pictures.0.objects.0.class: expected one of the head's classes, got 'cup'",
    ),
    "one image twice": (
        taught(pictures=[picture(1), picture(1)]),
        f"pictures.1.key: expected another key for each picture, got '{1:032}'",
    ),
    "no region": (
        taught(pictures=[{"image": {"id": "1"}, "objects": [{"class": "mug"}]}]),
        "pictures.0.objects.0: expected a mask, points or a box, got 'an empty region'",
    ),
    "nothing looked for": (
        taught(pictures=[{"image": {"id": "1"}, "reviewed": []}]),
        "pictures.0.reviewed: expected at least one class that was looked for, got 'none'",
    ),
    "pixels of nothing": (
        taught(pictures=[{"image": {"id": "1"}}]),
        "pictures: all labelled pixels are none of the classes; expected pixels of at least two classes",
    ),
    "no name": (taught(name="No Name"), "name: expected 1 to 64 of a-z, 0-9 and -"),
    "a field that is none": (taught(colour="red"), "colour: expected no field of that name"),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_a_head_that_cannot_be_is_refused_in_a_sentence_and_nothing_is_kept(
    client: httpx.AsyncClient, case: str
) -> None:
    body, sentence = REFUSED[case]

    status, kind, detail = refusal(await client.post("/v1/heads", json=body))

    assert (status, kind) == (422, "invalid-value")
    assert detail.startswith(sentence)
    assert (await client.get("/v1/heads")).json() == {"heads": []}


async def test_a_name_that_is_taken_is_refused_before_a_picture_is_read(
    client: httpx.AsyncClient, backend: KnownBackend
) -> None:
    await client.post("/v1/heads", json=taught())
    backend.asked.clear()

    status, kind, detail = refusal(await client.post("/v1/heads", json=taught("saucer")))

    assert (status, kind) == (409, "name-taken")
    assert "PUT /v1/heads/mugs changes it" in detail
    assert backend.asked == []


@pytest.mark.parametrize(("named", "place"), [({}, "pictures.0"), ({"key": "a\u202f.png"}, r"pictures: 'a\u202f.png'")])
async def test_a_picture_that_cannot_be_read_leaves_the_head_as_it_was(
    client: httpx.AsyncClient, backend: KnownBackend, named: dict[str, str], place: str
) -> None:
    before = (await client.post("/v1/heads", json=taught())).json()
    backend.failure = UndecodableImage("the file ends early")

    answer = await client.put("/v1/heads/mugs", json={"pictures": [picture(4) | named, picture(5)]})

    assert refusal(answer)[1:] == ("undecodable-image", f"{place}: the file ends early")
    assert (await client.get("/v1/heads/mugs")).json() == before


async def test_a_head_whose_model_is_gone_or_changed_says_so(client: httpx.AsyncClient, backend: KnownBackend) -> None:
    await client.post("/v1/heads", json=taught())
    backend.weights = "others"
    other_weights = refusal(await client.post("/v1/segment", files=form("sky", head="mugs")))
    backend.models = [each.model_copy(update={"version": "2"}) for each in backend.models]
    gone = refusal(await client.post("/v1/segment", files=form("sky", head="mugs")))
    to_teach = refusal(await client.put("/v1/heads/mugs", json={"pictures": [picture(3)]}))

    assert (await client.get("/v1/heads/mugs")).status_code == 200

    assert other_weights[:2] == gone[:2] == to_teach[:2] == (409, "model-changed")
    assert "was taught on other weights of colours@1 than are served now, or by an earlier" in other_weights[2]
    assert gone[2].startswith("head: 'mugs' was taught on colours@1, which is not served here")


async def test_a_head_of_0_3_0_says_so_is_listed_and_taught_by_its_pictures_again(
    backend: KnownBackend, tmp_path: Path
) -> None:
    served, backend.weights = backend.weights, backend.weights + OTHER_RULES  # kept as 0.3.0 did
    async with serving(backend=backend, state_dir=tmp_path) as client:
        version = (await client.post("/v1/heads", json=taught())).json()["version"]
        file = (await client.get("/v1/heads/mugs?export=1")).content
    backend.weights = served
    async with serving(backend=backend, state_dir=tmp_path) as client:
        listed = (await client.get("/v1/heads")).json()["heads"]
        asked = refusal(await client.post("/v1/segment", files=form("sky", head=f"mugs@{version}")))
        imported = refusal(await client.put("/v1/heads/mugs", content=file, headers=BINARY))
        changed = refusal(await client.put("/v1/heads/mugs", json={"pictures": [picture(3)]}))
        kept = (await client.get("/v1/heads")).json()["heads"]
        again = await client.put("/v1/heads/mugs", json={"pictures": [picture(0)]})

    assert [head["version"] for head in listed] == [version]
    assert kept == listed
    assert asked[:2] == imported[:2] == changed[:2] == (409, "model-changed")
    assert "or by an earlier release; send its pictures again" in asked[2]
    assert changed[2].startswith("pictures: 1 of the head's 2 were taught to other weights of the model than are")
    assert again.status_code == 200


@pytest.mark.parametrize("model", ["tiny", "colours@", "@1"])
async def test_a_head_of_another_model_than_the_question_names_is_refused(
    client: httpx.AsyncClient, model: str
) -> None:
    await client.post("/v1/heads", json=taught())

    asked = await client.post("/v1/segment", json={"image": {"id": "0" * 32}, "head": "mugs", "model": model})
    to_teach = await client.put("/v1/heads/mugs", json={"pictures": [picture(3)], "model": model})

    assert [refusal(answer)[1:] for answer in (asked, to_teach)] == 2 * [
        ("invalid-value", f"model: expected colours@1, on which the head was taught, or no model, got {model!r}")
    ]


async def test_what_is_erased_is_in_no_file(tmp_path: Path) -> None:
    def files_with(word: bytes) -> list[Path]:
        return [path for path in tmp_path.rglob("*") if path.is_file() and word in path.read_bytes()]

    async with serving(state_dir=tmp_path) as client:
        await client.post("/v1/heads", json=taught("mug", classes=["mug", "secret-gadget"]))
        before = files_with(b"secret-gadget")
        await client.delete("/v1/data")
        after = files_with(b"secret-gadget")

    assert (before != [], after) == (True, [])


async def test_a_head_that_is_exported_is_the_same_elsewhere(client: httpx.AsyncClient) -> None:
    made = (await client.post("/v1/heads", json=taught("mug", "saucer"))).json()
    file = (await client.get("/v1/heads/mugs?export=1")).content
    accepted = await client.get("/v1/heads/mugs", headers={"Accept": "application/octet-stream"})

    async with serving() as elsewhere:
        put = await elsewhere.put("/v1/heads/cups", content=file, headers=BINARY)
        more = await elsewhere.put("/v1/heads/cups", json={"pictures": [picture(8)]})

    assert accepted.content == file
    assert put.json() == made | {"name": "cups"}
    assert more.json()["pictures"] == 3


async def test_a_head_of_more_bytes_than_other_bodies_have_is_put_back_from_its_file(tmp_path: Path) -> None:
    small = {"max_image_bytes": 1000, "max_text_bytes": 100, "max_prompts": 1}
    async with serving(state_dir=tmp_path, limits=Limits(**small)) as client:
        for number in range(20):
            await client.put("/v1/heads/mugs", json=taught(pictures=[picture(number)]))
        file = (await client.get("/v1/heads/mugs?export=1")).content
        put = await client.put("/v1/heads/cups", content=file, headers=BINARY)
        as_json = await client.put("/v1/heads/cups", content=file, headers={"Content-Type": "application/json"})

    assert (put.status_code, put.json().get("pictures")) == (200, 20), put.text
    assert as_json.status_code == 413
    assert reviewed_set.MAX_ARCHIVE_BYTES > collection.KEY_SHARE * collection.MAX_BYTES


async def test_a_head_is_exported_lesson_by_lesson(client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    of_each: list[int] = []
    read_parts = Documents.read_parts

    async def counted(self: Documents, slot: str, names: Sequence[str]) -> dict[str, bytes]:
        of_each.append(len(names))
        return await read_parts(self, slot, names)

    await client.post("/v1/heads", json=taught("mug", "saucer"))
    monkeypatch.setattr(Documents, "read_parts", counted)
    exported = await client.get("/v1/heads/mugs?export=1")

    assert of_each == [1, 1]
    assert exported.headers["content-encoding"] == "identity"


@pytest.mark.parametrize("damage", [lambda file: file[:-40], lambda file: b"PK" + file[::-1], lambda _: b""])
async def test_a_file_that_is_no_head_changes_nothing(client: httpx.AsyncClient, damage: Any) -> None:
    await client.post("/v1/heads", json=taught())
    file = (await client.get("/v1/heads/mugs?export=1")).content

    answer = await client.put("/v1/heads/cups", content=damage(file), headers=BINARY)

    assert refusal(answer)[:2] == (422, "invalid-value")
    assert [head["name"] for head in (await client.get("/v1/heads")).json()["heads"]] == ["mugs"]


async def test_a_file_with_two_lessons_of_one_key_is_refused_by_its_name(client: httpx.AsyncClient) -> None:
    await client.post("/v1/heads", json=taught("mug", "saucer"))
    file = (await client.get("/v1/heads/mugs?export=1")).content
    with zipfile.ZipFile(io.BytesIO(file)) as whole, zipfile.ZipFile(equal := io.BytesIO(), "w") as changed:
        for name in whole.namelist():
            changed.writestr(name, whole.read(name).replace(b"%032d" % 1, b"%032d" % 0))

    answer = await client.put("/v1/heads/cups", content=equal.getvalue(), headers=BINARY)

    expected = f"head.json: keys.1: expected another key for each picture, got '{0:032}'"
    assert refusal(answer) == (422, "invalid-value", expected)


async def test_lessons_of_one_key_are_bounded_and_a_refused_picture_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, client: httpx.AsyncClient
) -> None:
    before = (await client.post("/v1/heads", json=taught())).json()
    monkeypatch.setattr(collection, "MAX_BYTES", 1)

    status, kind, detail = refusal(await client.put("/v1/heads/mugs", json={"pictures": [picture(3)]}))

    assert (status, kind) == (422, "invalid-value")
    assert detail.startswith("pictures: expected at most 1 bytes of lessons; take out pictures, or delete a head, got ")
    assert (await client.get("/v1/heads/mugs")).json() == before


async def test_twenty_clients_that_change_a_head_at_once_lose_nothing(client: httpx.AsyncClient) -> None:
    await client.post("/v1/heads", json=taught())

    changes = [client.put("/v1/heads/mugs", json={"pictures": [picture(number)]}) for number in range(1, 21)]
    answers = await asyncio.gather(*changes)

    assert {answer.status_code for answer in answers} == {200}
    assert (await client.get("/v1/heads/mugs")).json()["pictures"] == 21


async def test_a_head_expires_some_days_after_its_last_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    monkeypatch.setattr(collection, "MAX_HEADS", 2)
    async with serving(state_dir=tmp_path) as client:

        async def at(days: float, method: str, path: str, **body: Any) -> httpx.Response:
            monkeypatch.setattr(time, "time", lambda: now + 86_400 * days)
            return await client.request(method, path, **body)

        await at(0, "POST", "/v1/heads", json=taught())
        short = await at(0, "POST", "/v1/heads", json=taught(name="short", keep_days=2))
        await at(1.5, "PUT", "/v1/heads/short", json={"pictures": [picture(1, "saucer")]})
        before = await at(3, "GET", "/v1/heads")
        full = await at(3, "POST", "/v1/heads", json=taught(name="third"))
        after = await at(4, "GET", "/v1/heads")
        gone = await at(4, "GET", "/v1/heads/short")
        third = await at(4, "POST", "/v1/heads", json=taught(name="third"))

    assert short.json()["expires"] == rfc3339(now + 2 * 86_400)
    assert [head["name"] for head in before.json()["heads"]] == ["mugs", "short"]
    assert [head["name"] for head in after.json()["heads"]] == ["mugs"]
    assert (full.status_code, gone.status_code, third.status_code) == (422, 404, 201)
    assert not [path for path in tmp_path.rglob("*short*") if path.is_file()]


async def test_a_stale_change_is_refused_before_a_picture_is_read(
    client: httpx.AsyncClient, backend: KnownBackend
) -> None:
    await client.post("/v1/heads", json=taught())
    backend.asked.clear()
    file = (await client.get("/v1/heads/mugs?export=1")).content
    stale = {"If-Match": '"other"'}

    answers = [
        await client.put("/v1/heads/mugs", json={"pictures": [picture(3)]}, headers=stale),
        await client.put("/v1/heads/mugs", content=file, headers=BINARY | stale),
    ]

    assert [each.status_code for each in answers] == [412, 412]
    assert backend.asked == []


async def test_a_key_that_may_only_ask_teaches_nothing() -> None:
    keys = line_of("ann", "ann", ["segment"])
    async with serving(api_keys=keys) as client:
        answers = [
            await client.request(method, path, json=taught(), headers={"X-API-Key": "ann"})
            for method, path in (("POST", "/heads"), ("PUT", "/v1/heads/mugs"), ("DELETE", "/v1/heads/mugs"))
        ]

    assert {refusal(each)[:2] for each in answers} == {(403, "not-allowed")}


async def test_where_nothing_of_pictures_is_kept_heads_are_off() -> None:
    async with serving(feature_cache_bytes=0) as client:
        made = await client.post("/v1/heads", json=taught())
        asked = await client.post("/v1/segment", files=form("sky", head="mugs"))
        features = (await client.get("/v1/models")).json()["features"]

    assert refusal(made)[:2] == refusal(asked)[:2] == (403, "switched-off")
    assert features == []
