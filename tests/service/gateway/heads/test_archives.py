"""A zip of labelled pictures teaches a head at once, and one that is none changes nothing."""

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import httpx
import pytest

from lexiseg_service.errors import UndecodableImage
from lexiseg_service.gateway.heads import reviewed_set
from lexiseg_service.gateway.heads.reviewed_set import LabelledFile, ReviewedSet
from tests.service.batch.http.asking import zipped
from tests.service.gateway.heads.labelled import coco
from tests.service.gateway.known_backend import KnownBackend
from tests.service.gateway.rest.test_head_routes import taught
from tests.service.gateway.serving import ANN, BOB, EVE, KEYS, serving

SET = ReviewedSet(("gadget",), (LabelledFile("a.jpg", b"", (4, 4), (("gadget", "088"),)),))


def sent(content: bytes, **fields: Any) -> dict[str, Any]:
    """A form with an archive."""
    request = json.dumps({"name": "gadgets", **fields})
    return {"files": {"archive": ("project.zip", content)}, "data": {"request": request}}


@pytest.fixture
def project(tmp_path: Path) -> bytes:
    coco(tmp_path / "set")
    return Path(shutil.make_archive(str(tmp_path / "project"), "zip", tmp_path / "set")).read_bytes()


async def test_a_projects_zip_makes_a_head(tmp_path: Path, project: bytes) -> None:
    backend = KnownBackend()
    async with serving(backend=backend, state_dir=tmp_path / "state") as client:
        made = await client.post(
            "/v1/heads", **sent(project, classes=["spoon", {"name": "Gadget", "synonyms": ["tool"]}])
        )

    assert made.status_code == 201, made.text
    head = made.json()
    assert head["keys"] == ["0.jpg", "1.jpg", "2.jpg"]
    assert [(entry["name"], entry["synonyms"], entry["pictures"]) for entry in head["classes"]] == [
        ("spoon", [], 0),
        ("Gadget", ["tool"], 3),
    ]
    # A set says nothing of classes that it does not have.
    assert [[entry.name for entry in request.vocabulary.classes] for request in backend.asked] == [["Gadget"]] * 3
    assert [path.name for path in (tmp_path / "state").iterdir() if path.name.startswith(".archive")] == []


async def test_a_zip_that_is_put_replaces_the_whole_head_or_leaves_it(tmp_path: Path, project: bytes) -> None:
    async with serving(state_dir=tmp_path / "state") as client:
        before = (await client.put("/v1/heads/gadgets", json=taught(name="gadgets"))).json()
        refused = await client.put("/v1/heads/gadgets", **sent(zipped({"notes.txt": b"no picture"})))
        stays = (await client.get("/v1/heads/gadgets")).json()
        put = await client.put("/v1/heads/gadgets", **sent(project))

    assert (refused.status_code, stays) == (422, before)
    assert (put.status_code, put.json().get("keys")) == (200, ["0.jpg", "1.jpg", "2.jpg"]), put.text
    assert [entry["name"] for entry in put.json()["classes"]] == ["gadget"]


async def test_of_a_project_with_marks_the_reviewed_pictures_alone_teach(tmp_path: Path) -> None:
    coco(tmp_path / "set")
    content = json.loads((tmp_path / "set/annotations.json").read_text())
    content["images"] = [image | {"reviewed": image["id"] == 1} for image in content["images"]]
    (tmp_path / "set/annotations.json").write_text(json.dumps(content))
    project = Path(shutil.make_archive(str(tmp_path / "project"), "zip", tmp_path / "set")).read_bytes()
    async with serving(backend=KnownBackend(), state_dir=tmp_path / "state") as client:
        made = (await client.post("/v1/heads", **sent(project))).json()
        kept = (await client.get("/v1/heads/gadgets")).json()

    detail = "photographs that are not marked as reviewed, left out: 2 of 3, such as 0.jpg"
    assert made["keys"] == ["1.jpg"]
    assert {"type": "left-out", "detail": detail, "field": "archive"} in made["warnings"]
    assert [warning["type"] for warning in kept["warnings"]] == ["few-pictures"]


def moved(archive: bytes) -> bytes:
    """A zip that says its directory is further down: its entries begin before the file."""
    return archive[:-6] + (int.from_bytes(archive[-6:-2], "little") + 1000).to_bytes(4, "little") + archive[-2:]


REFUSED = {
    "no zip": (b"GIF89a", "a whole zip"),
    "cut off": (zipped({"a": b"%d" % 2**9999})[:-40], "a whole zip"),
    "moved": (moved(zipped({"a": b"1"})), """a whole zip, got "a file that is damaged or cut off ('a' begins"""),
    "no files": (zipped({}), "pictures with their labels, got 'no files'"),
    "a name that leads out": (zipped({"../a.jpg": b"1"}), "names within the archive"),
    "a name from the root": (zipped({"/etc/a.jpg": b"1"}), "names within the archive"),
    "a name of Windows": (zipped({"a\\..\\..\\b.jpg": b"1"}), "names within the archive"),
    "a name that is no UTF-8": (zipped({"\u00e9": b"1"}).replace("\u00e9".encode(), b"\xff\xff"), "a whole zip"),
    "too much": (zipped({"a": bytes(2000)}), "at most 1,000"),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_what_is_no_zip_of_a_set_is_refused_and_nothing_is_kept(
    client: httpx.AsyncClient, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reviewed_set, "MAX_UNPACKED_BYTES", 1000)
    archive, expected = REFUSED[case]

    answer = await client.post("/v1/heads", **sent(archive))

    assert (answer.status_code, answer.json()["type"]) == (422, "invalid-value")
    assert answer.json()["detail"].startswith(f"archive: expected {expected}")
    assert (await client.get("/v1/heads")).json() == {"heads": []}


async def test_a_zip_without_a_set_is_refused_without_a_path_of_the_machine(
    client: httpx.AsyncClient, tmp_path: Path
) -> None:
    async with serving(state_dir=tmp_path) as client:
        answer = await client.post("/v1/heads", **sent(zipped({"notes.txt": b"no picture"})))

    assert (answer.status_code, answer.json()["type"]) == (422, "invalid-value")
    assert str(tmp_path) not in answer.text
    assert "�" not in answer.json()["detail"]  # which stands for a line break


async def test_where_sets_are_not_read_a_zip_is_refused(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reviewed_set, "entry_points_of", lambda _: {})

    answer = await client.post("/v1/heads", **sent(zipped({"a": b"1"})))

    assert (answer.status_code, answer.json()["type"]) == (403, "switched-off")
    assert "lexiseg-train" in answer.json()["detail"]


async def test_a_picture_of_an_archive_is_named_in_its_error(monkeypatch: pytest.MonkeyPatch) -> None:
    async def read(*_: object) -> ReviewedSet:
        return SET

    monkeypatch.setattr(reviewed_set, "read", read)
    backend = KnownBackend(failure=UndecodableImage("the file ends early"))
    async with serving(backend=backend) as client:
        answer = await client.post("/v1/heads", **sent(zipped({"a": b"1"})))

    assert answer.json()["detail"].startswith("archive: 'a.jpg'.image: ")


async def test_a_client_has_one_archive_read_and_all_have_two(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, over = asyncio.Semaphore(0), asyncio.Event()

    async def read(*_: object) -> ReviewedSet:
        reading.release()
        await over.wait()
        raise UndecodableImage("over")

    monkeypatch.setattr(reviewed_set, "read", read)
    async with serving(api_keys=KEYS) as client:

        async def post(key: dict[str, str]) -> tuple[int, str]:
            answer = await client.post("/v1/heads", **sent(zipped({"a": b"1"})), headers=key)
            return answer.status_code, answer.json()["type"]

        open_ones = [asyncio.create_task(post(key)) for key in (ANN, BOB)]
        for _ in open_ones:
            await reading.acquire()
        of_ann, of_eve = await post(ANN), await post(EVE)
        over.set()
        ended = await asyncio.gather(*open_ones)

    assert (of_ann, of_eve) == ((429, "rate-limited"), (429, "queue-full"))
    assert ended == [(422, "undecodable-image")] * 2
