"""What operators see of jobs: open, waiting, held up, failed, given up, and the room that is left."""

import re
import shutil
from pathlib import Path

import httpx
import pytest

from lexiseg_service.batch.files import Files
from lexiseg_service.batch.http import notices
from lexiseg_service.batch.ledger.job import Ledger
from lexiseg_service.batch.runner import Turns
from lexiseg_service.batch.sources.source import Picture
from lexiseg_service.records.store import StoreAway
from tests.service.batch.http.asking import PNG, create, finished, gateway, zipped
from tests.waiting import until

ARCHIVE = zipped({"a.png": PNG, "b.png": PNG, "broken.png": b"no picture"})


def seen(client: httpx.Client) -> dict[str, float]:
    """The samples about jobs in a scrape."""
    lines = re.findall(r"^(lexiseg_jobs?_\S.*) (\S+)$", client.get("/metrics").text, re.MULTILINE)
    return {name: float(value) for name, value in lines}


def test_jobs_that_nobody_begins_are_seen_with_their_age(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Turns, "next", lambda turns: None)
    with gateway(tmp_path) as client:
        for _ in range(2):
            create(client, ARCHIVE)

        until(lambda: seen(client)['lexiseg_jobs_open{state="waiting"}'] == 2)
        until(lambda: seen(client)["lexiseg_jobs_oldest_waiting_seconds"] > 0)
        client.delete("/v1/data").raise_for_status()
        until(lambda: seen(client)['lexiseg_jobs_open{state="waiting"}'] == 0)


def test_pictures_that_fail_and_the_room_that_is_left_are_seen(tmp_path: Path) -> None:
    with gateway(tmp_path) as client:
        finished(client, create(client, ARCHIVE))

        until(lambda: seen(client)['lexiseg_job_pictures_total{result="failed"}'] == 1)
        until(lambda: seen(client)['lexiseg_job_pictures_total{result="ok"}'] == 2)
        samples = seen(client)

    assert samples["lexiseg_jobs_disk_bytes"] == shutil.disk_usage(tmp_path).total
    assert 0 < samples["lexiseg_jobs_disk_free_bytes"] <= samples["lexiseg_jobs_disk_bytes"]
    assert samples["lexiseg_jobs_held_up"] == samples["lexiseg_jobs_erasures_failing"] == 0


def test_a_webhook_that_is_given_up_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lookups = [["127.0.0.1"]]  # the host is known while the job is created, and not any more

    async def resolve(host: str, port: int) -> list[str]:
        return lookups.pop() if lookups else []

    monkeypatch.setattr(notices, "SystemResolver", lambda max_threads: resolve)
    monkeypatch.setattr(notices, "PATIENCE", 0.0)
    with gateway(tmp_path, webhook_networks="127.0.0.0/8") as client:
        webhook = {"url": "http://example.org/hook", "secret": "a secret of sixteen"}
        finished(client, create(client, ARCHIVE, webhook=webhook))

        until(lambda: seen(client)['lexiseg_jobs_webhooks_total{result="given up"}'] == 1)
        assert seen(client)['lexiseg_jobs_webhooks_total{result="sent"}'] == 0


def test_jobs_that_are_held_up_are_seen_and_say_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> list[Picture]:
        raise StoreAway("database or disk is full")

    with gateway(tmp_path) as client:
        with monkeypatch.context() as broken:
            broken.setattr(Ledger, "take", full)
            created = create(client, ARCHIVE)
            until(lambda: seen(client)["lexiseg_jobs_held_up"] == 1)
            assert "database or disk is full" in client.get(created.headers["Location"]).json()["detail"]

        assert finished(client, created)["detail"] is None
        until(lambda: seen(client)["lexiseg_jobs_held_up"] == 0)


def test_files_of_erased_jobs_that_stay_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(files: Files, name: str) -> None:
        raise PermissionError(1, "Operation not permitted")

    with gateway(tmp_path) as client:
        job = finished(client, create(client, ARCHIVE))
        monkeypatch.setattr(Files, "remove", refuse)
        client.delete(f"/v1/jobs/{job['id']}").raise_for_status()

        assert seen(client)["lexiseg_jobs_erasures_failing"] == 1


def test_without_jobs_there_is_nothing_to_see_of_them(tmp_path: Path) -> None:
    with gateway(tmp_path, jobs=False) as client:
        assert [name for name in seen(client) if not name.endswith(("_total", "}")) and "_created" not in name] == []
