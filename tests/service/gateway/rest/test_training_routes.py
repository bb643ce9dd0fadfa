"""The /trainings routes: pictures are unpacked for the trainer, whose notes are shown."""

import http.client
import json
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from lexiseg_service.gateway.admission.key_file import line_of
from lexiseg_service.gateway.trainings.training import ALIVE_SECONDS, TRAINER, Training, TrainingStore
from lexiseg_service.records import sqlite
from tests.service.batch.http.asking import PNG, zipped
from tests.service.gateway.known_backend import KnownBackend
from tests.service.gateway.serving import on_ports, serving
from tests.waiting import SOON, until

SET = {"images/a.png": PNG, "masks/a.png": PNG, "classes.json": b"[]", "__MACOSX/._a.png": b"x", ".hidden": b"x"}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TrainingStore]:
    """Of trainings, with a trainer at work."""
    store = TrainingStore(tmp_path / "trainings")
    store.beat()
    yield store
    store.close()


@pytest.fixture
def folder(store: TrainingStore) -> Path:
    return store.root


def folders_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.is_dir()]


def add(store: TrainingStore, training: Training) -> None:
    store.add(training, lambda *_: None)
    store.path(training.id).mkdir()
    assert store.complete(training.id)


def trainer_seen(store: TrainingStore, at: float | None) -> None:
    """Have the last sign of a trainer been at a time; None: there was none."""
    with closing(sqlite3.connect(store.root / "trainings.sqlite", isolation_level=None)) as file:
        if at is None:
            file.execute("DELETE FROM records WHERE kind = ?", (TRAINER,))
        else:
            file.execute("UPDATE records SET expires = ? WHERE kind = ?", (at + ALIVE_SECONDS, TRAINER))


@pytest.fixture
def client(folder: Path) -> Iterator[httpx.Client]:
    with (
        on_ports(KnownBackend(), trainings=folder, job_bytes_per_client=10 * 2**20) as ports,
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


def test_the_archive_lies_where_the_trainer_finds_it(client: httpx.Client, store: TrainingStore) -> None:
    archive = zipped(SET)

    answer = create(client, archive)

    assert (answer.status_code, answer.json()["state"]) == (202, "waiting")
    assert (store.path(answer.json()["id"]) / "archive.zip").read_bytes() == archive
    (training,) = store.all()
    assert (training.name, training.start) == ("garments", "colours")


def test_what_the_trainer_records_and_prints_is_shown(client: httpx.Client, store: TrainingStore) -> None:
    identity = create(client, zipped(SET)).json()["id"]
    store.log(identity).write_text("step 0.5 from the start")
    report = {"layout": "COCO"}
    store.update(identity, state="done", ended=4102444800.0, import_report=report, figures={"step": 0.5})

    shown = client.get(f"/v1/trainings/{identity}").json()
    with client.stream("GET", f"/v1/trainings/{identity}/events", timeout=60) as answer:
        events = [line for line in answer.iter_lines() if line.startswith("event: ")]

    assert (shown["state"], shown["ended"], shown["figures"]) == ("done", "2100-01-01T00:00:00.000Z", {"step": 0.5})
    assert shown["found"] == report
    assert client.get(f"/v1/trainings/{identity}/log").text == "step 0.5 from the start"
    assert events == ["event: log", "event: done"]
    assert [each["id"] for each in client.get("/v1/trainings").json()["trainings"]] == [identity]


def test_a_removed_training_is_gone_with_its_pictures(client: httpx.Client, folder: Path) -> None:
    identity = create(client, zipped(SET)).json()["id"]

    assert client.delete(f"/v1/trainings/{identity}").status_code == 204

    assert client.get(f"/v1/trainings/{identity}").json()["type"] == "unknown-training"
    assert folders_in(folder) == []


@pytest.mark.parametrize(
    ("archive", "fields", "status", "expected"),
    [
        (b"no zip", {}, 422, "a whole zip"),
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
    assert folders_in(folder) == []


def test_one_name_at_once_is_taken_once(client: httpx.Client) -> None:
    with ThreadPoolExecutor(6) as threads:
        answers = list(threads.map(lambda _: create(client, zipped(SET)), range(6)))

    assert sorted(answer.status_code for answer in answers) == [202] + 5 * [422], [each.text for each in answers]


def test_a_clients_trainings_have_a_limit_of_bytes(folder: Path) -> None:
    with (
        on_ports(KnownBackend(), trainings=folder, job_bytes_per_client=9000) as ports,
        httpx.Client(base_url=ports.url) as client,
    ):
        answers = [create(client, zipped({"a.png": bytes(3500)}), name=name) for name in ("first", "second", "third")]

    assert [answer.status_code for answer in answers] == [202, 202, 429]
    assert "at most 9,000 are kept" in answers[-1].json()["detail"]


@pytest.mark.parametrize("last_sign", [None, 1.0])
def test_without_a_trainer_a_training_is_refused_before_its_archive_is_read(
    store: TrainingStore, last_sign: float | None
) -> None:
    trainer_seen(store, last_sign)
    with on_ports(KnownBackend(), trainings=store.root) as ports:
        connection = http.client.HTTPConnection(ports.url.removeprefix("http://"), timeout=60)
        connection.putrequest("POST", "/v1/trainings")
        connection.putheader("Content-Type", "multipart/form-data; boundary=x")
        connection.putheader("Content-Length", str(2**20))
        connection.endheaders()  # and no byte of the archive

        answer = connection.getresponse()

        assert (answer.status, b"no trainer is at work" in answer.read()) == (503, True)
        connection.close()


def test_trainings_expire_and_what_was_not_finished_is_removed(store: TrainingStore) -> None:
    folder, by_gateway_that_died = store.root, Training("dead", "", "garments", "colours", 1.0)
    for identity, ended in (("old", 1.0), ("new", time.time())):
        add(store, Training(identity, "", identity, "colours", 1.0))
        store.update(identity, state="refused", ended=ended)
    store.add(by_gateway_that_died, lambda *_: None)
    store.path("dead").mkdir()
    (folder / ".half-removed").mkdir()

    with on_ports(KnownBackend(), trainings=folder) as ports, httpx.Client(base_url=ports.url) as client:
        until(lambda: folders_in(folder) == ["new"])
        shown = client.get("/v1/trainings").json()["trainings"]
        assert [each["id"] for each in shown] == ["new"]
        assert shown[0]["expires"] > shown[0]["ended"]
        assert create(client, zipped(SET)).status_code == 202


def test_one_that_has_expired_is_gone_before_it_is_swept(client: httpx.Client, store: TrainingStore) -> None:
    add(store, Training("a", "", "mine", "tiny", 1.0))
    assert client.get("/v1/trainings/a").status_code == 200
    store.update("a", state="done", started=1.0, ended=2.0)

    answers = [client.get(f"/v1/trainings/a{route}") for route in ("", "/log")]

    assert [answer.status_code for answer in answers] == [404, 404]
    assert client.get("/v1/trainings").json() == {"trainings": []}


def test_while_the_store_is_locked_a_call_is_told_to_come_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.1)
    with (
        on_ports(KnownBackend(), trainings=folder) as ports,
        closing(sqlite3.connect(folder / "trainings.sqlite", isolation_level=None)) as other,
    ):
        other.execute("BEGIN EXCLUSIVE")
        locked = httpx.get(f"{ports.url}/v1/trainings", timeout=SOON)
        other.execute("ROLLBACK")
        free = httpx.get(f"{ports.url}/v1/trainings", timeout=SOON)

    assert (locked.status_code, free.status_code) == (503, 200)


def test_metrics_show_what_waits_and_whether_a_trainer_is_at_work(client: httpx.Client, store: TrainingStore) -> None:
    create(client, zipped(SET))
    with_trainer = client.get("/metrics").text
    trainer_seen(store, None)
    without = client.get("/metrics").text

    assert 'lexiseg_trainings{state="waiting"} 1.0' in with_trainer
    assert "lexiseg_trainings_disk_free_bytes" in with_trainer
    assert "lexiseg_trainer_alive 1.0" in with_trainer
    assert "lexiseg_trainer_alive 0.0" in without


def test_only_an_admin_trains_where_there_are_keys(folder: Path) -> None:
    with on_ports(KnownBackend(), trainings=folder, api_keys=line_of("ann", "key", ["segment"])) as ports:
        answer = httpx.get(f"{ports.url}/v1/trainings", headers={"X-API-Key": "key"})

    assert (answer.status_code, answer.json()["type"]) == (403, "not-allowed")
