"""The store of trainings, as several processes share it."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from lexiseg_service.gateway.trainings.training import Training, TrainingStore
from lexiseg_service.records import sqlite
from tests.service.gateway.known_backend import KnownBackend
from tests.service.gateway.serving import on_ports
from tests.waiting import SOON


def test_one_that_is_being_written_counts_and_is_not_swept(tmp_path: Path) -> None:
    store = TrainingStore(tmp_path)
    seen: list[list[str]] = []

    store.add(Training("a", "", "first", "tiny", 4102444800.0), lambda *_: None)
    store.sweep(before=2.0)
    store.add(Training("b", "", "second", "tiny", 1.0), lambda _, unended: seen.append([each.name for each in unended]))

    assert seen == [["first"]]
    assert (store.all(), store.read("a")) == ([], None)
    assert store.complete("a")
    assert [each.name for each in store.all()] == ["first"]


def test_the_trainings_of_0_4_become_records_and_one_that_cannot_be_read_stays(tmp_path: Path) -> None:
    request: dict[str, Any] = {"owner": "ann", "name": "mine", "start": "tiny", "created": 1.0}
    request |= {"client": "key:ann", "nbytes": 7}
    progress = {"state": "running", "started": 2.0, "found": {"layout": "COCO"}, "begun": 1, "ended": None}
    for identity in ("a", "b", "damaged"):
        (tmp_path / identity).mkdir()
        (tmp_path / identity / "training.json").write_text(json.dumps({"id": identity, **request}))
    (tmp_path / "a" / "state.json").write_text(json.dumps(progress))
    (tmp_path / "a" / "archive.zip").write_bytes(b"a zip")
    (tmp_path / "damaged" / "training.json").write_text("{")

    with capture_logs() as lines:
        store = TrainingStore(tmp_path)
    store.sweep(before=0.0)

    running: dict[str, Any] = {"state": "running", "started": 2.0, "import_report": {"layout": "COCO"}, "attempts": 1}
    assert store.all() == [Training("a", **request, **running), Training("b", **request)]
    assert [(line["training"], line["log_level"]) for line in lines] == [("damaged", "warning")]
    assert [*(tmp_path / "a").iterdir()] == [tmp_path / "a" / "archive.zip"]
    assert (tmp_path / "damaged" / "training.json").exists()


def test_one_that_has_expired_is_gone_before_it_is_swept(tmp_path: Path) -> None:
    store = TrainingStore(tmp_path)
    with (
        on_ports(KnownBackend(), trainings=tmp_path) as ports,
        httpx.Client(base_url=ports.url, timeout=SOON) as client,
    ):
        store.add(Training("a", "", "mine", "tiny", 1.0), lambda *_: None)
        store.complete("a")
        assert client.get("/v1/trainings/a").status_code == 200
        store.update("a", state="done", started=1.0, ended=2.0)
        answers = [client.get(f"/v1/trainings/a{route}") for route in ("", "/log")]
        listed = client.get("/v1/trainings").json()

    assert ([answer.status_code for answer in answers], listed) == ([404, 404], {"trainings": []})


def test_while_the_store_is_locked_a_call_is_told_to_come_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.1)
    with (
        on_ports(KnownBackend(), trainings=tmp_path) as ports,
        httpx.Client(base_url=ports.url, timeout=SOON) as client,
        closing(sqlite3.connect(tmp_path / "trainings.sqlite", isolation_level=None)) as other,
    ):
        other.execute("BEGIN EXCLUSIVE")
        answer = client.get("/v1/trainings")
        other.execute("ROLLBACK")

        assert (answer.status_code, client.get("/v1/trainings").status_code) == (503, 200)
