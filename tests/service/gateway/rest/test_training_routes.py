"""The /trainings routes: pictures are unpacked for the trainer, whose notes are shown."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from lexiseg_service.gateway.admission.keys import line_of
from lexiseg_service.gateway.trainings.training import Standing, TrainingFolder
from tests.service.gateway.jobs.asking import PNG, zipped
from tests.service.gateway.known_backend import KnownBackend
from tests.service.gateway.serving import on_ports, serving

SET = {"images/a.png": PNG, "masks/a.png": PNG, "classes.json": b"[]", "__MACOSX/._a.png": b"x", ".hidden": b"x"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "trainings"


@pytest.fixture
def client(folder: Path) -> Iterator[httpx.Client]:
    with (
        on_ports(KnownBackend(), trainings=folder, job_archive_bytes=2**20) as ports,
        httpx.Client(base_url=ports.url) as client,
    ):
        yield client


def create(client: httpx.Client, archive: bytes, **fields: Any) -> httpx.Response:
    asked = {"name": "garments", "start": "colours", **fields}
    files = {"archive": ("set.zip", archive)}
    return client.post("/v1/trainings", data={"request": json.dumps(asked)}, files=files)


async def test_trainings_are_off_until_the_operator_switches_them_on() -> None:
    async with serving() as client:
        answer = await client.post("/v1/trainings", files={"archive": b"x"})

    assert (answer.status_code, answer.json()["type"]) == (403, "switched-off")


def test_the_pictures_lie_where_the_trainer_finds_them(client: httpx.Client, folder: Path) -> None:
    answer = create(client, zipped(SET))

    assert (answer.status_code, answer.json()["state"]) == (202, "waiting")
    pictures = folder / answer.json()["id"] / "pictures"
    files = sorted(path.relative_to(pictures).as_posix() for path in pictures.rglob("*") if path.is_file())
    assert files == ["__MACOSX/._a.png", "classes.json", "images/a.png", "masks/a.png"][1:]
    assert (pictures / "images/a.png").read_bytes() == PNG
    (training,) = TrainingFolder(folder).all()
    assert (training.name, training.start) == ("garments", "colours")


def test_what_the_trainer_notes_and_prints_is_shown(client: httpx.Client, folder: Path) -> None:
    identity = create(client, zipped(SET)).json()["id"]
    trainings = TrainingFolder(folder)
    trainings.log(identity).write_text("step 0.5 from the start")
    trainings.note(identity, Standing("done", 1.0, 2.0, "the model garments is in the list", {"step": 0.5}))

    shown = client.get(f"/v1/trainings/{identity}").json()
    with client.stream("GET", f"/v1/trainings/{identity}/events", timeout=60) as answer:
        events = [line for line in answer.iter_lines() if line.startswith("event: ")]

    assert (shown["state"], shown["ended"], shown["figures"]) == ("done", "1970-01-01T00:00:02.000Z", {"step": 0.5})
    assert client.get(f"/v1/trainings/{identity}/log").text == "step 0.5 from the start"
    assert events == ["event: log", "event: done"]
    assert [each["id"] for each in client.get("/v1/trainings").json()["trainings"]] == [identity]


def test_a_removed_training_is_gone_with_its_pictures(client: httpx.Client, folder: Path) -> None:
    identity = create(client, zipped(SET)).json()["id"]

    assert client.delete(f"/v1/trainings/{identity}").status_code == 204

    assert client.get(f"/v1/trainings/{identity}").json()["type"] == "unknown-training"
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("archive", "fields", "status", "expected"),
    [
        (b"no zip", {}, 422, "a whole zip"),
        (zipped(SET)[:-40], {}, 422, "a whole zip"),
        (zipped({"../../a.png": PNG}), {}, 422, "names within the archive"),
        (zipped({"a.png": bytes(5 * 2**20)}), {}, 422, "at most 4,194,304"),
        (zipped(SET), {"name": "Not a name"}, 422, "a-z, 0-9"),
        (zipped(SET), {"name": "colours"}, 422, "no model and no other training has"),
        (zipped(SET), {"start": "unknown"}, 404, "no 'unknown' here"),
        (zipped(SET), {"more": 1}, 422, "no field of that name"),
    ],
)
def test_a_training_that_cannot_be_is_refused_and_leaves_nothing(
    client: httpx.Client, folder: Path, archive: bytes, fields: dict[str, Any], status: int, expected: str
) -> None:
    answer = create(client, archive, **fields)

    assert (answer.status_code, expected in answer.json()["detail"]) == (status, True), answer.text
    assert list(folder.iterdir()) == []


def test_only_an_admin_trains_where_there_are_keys(folder: Path) -> None:
    with on_ports(KnownBackend(), trainings=folder, api_keys=line_of("ann", "key", ["segment"])) as ports:
        answer = httpx.get(f"{ports.url}/v1/trainings", headers={"X-API-Key": "key"})

    assert (answer.status_code, answer.json()["type"]) == (403, "not-allowed")
