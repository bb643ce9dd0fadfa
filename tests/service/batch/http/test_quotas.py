"""What the jobs of one client may take: in bursts, at several gateways, and told with what came and what is allowed."""

import errno
import re
import time
from pathlib import Path

import pytest

from lexiseg_service.batch.files import Files
from lexiseg_service.batch.ledger.job import ADDING_SECONDS, Ledger
from lexiseg_service.records.sqlite import FILE, SqliteStore
from lexiseg_service.settings import Settings
from tests.service.batch.http.asking import PNG, create, finished, gateway, zipped
from tests.service.batch.ledger.test_ledgers import PLENTY, job
from tests.waiting import until

BURST = 40
ARCHIVE = zipped({"a.png": PNG, "b.png": PNG})
QUESTION_BYTES = 200  # more than a question has


def test_jobs_that_are_kept_are_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Settings, "jobs_per_client", 2)
    with gateway(tmp_path) as client:
        job = finished(client, create(client, ARCHIVE))
        finished(client, create(client, ARCHIVE))

        refused = create(client, ARCHIVE)

        assert (refused.status_code, refused.json()["type"]) == (429, "rate-limited")
        assert "2 jobs of this client are kept, at most 2 are" in refused.json()["detail"]
        client.delete(f"/v1/jobs/{job['id']}").raise_for_status()
        finished(client, create(client, ARCHIVE))


def test_archives_and_results_count_in_bytes(tmp_path: Path) -> None:
    with gateway(tmp_path, job_bytes_per_client=2 * len(ARCHIVE) + 100) as client:
        finished(client, create(client, ARCHIVE))  # its results have some hundred bytes

        refused = create(client, ARCHIVE)

        assert (refused.status_code, refused.json()["type"]) == (429, "rate-limited")
        detail = refused.json()["detail"]
        added = int(re.findall(r"this one adds ([\d,]+)", detail)[0].replace(",", ""))
        assert len(ARCHIVE) < added < len(ARCHIVE) + QUESTION_BYTES
        assert f"at most {2 * len(ARCHIVE) + 100:,} are kept" in detail
        too_large = create(client, zipped({f"{number}.png": PNG for number in range(9)}))
        assert (too_large.status_code, too_large.json()["type"]) == (413, "too-large")


def test_an_archive_that_cannot_be_kept_takes_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(files: Files, name: str, source: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Settings, "jobs_per_client", 1)
    with gateway(tmp_path) as client:
        with monkeypatch.context() as broken:
            broken.setattr(Files, "copy", full)
            answer = create(client, ARCHIVE)

        assert (answer.status_code, answer.json()["type"]) == (503, "not-ready")
        assert "No space left on device" in answer.json()["detail"]
        assert client.get("/v1/jobs").json() == {"jobs": []}
        finished(client, create(client, ARCHIVE))


def test_a_job_whose_gateway_died_while_it_was_added_is_erased(tmp_path: Path) -> None:
    store = Ledger(SqliteStore(tmp_path / FILE, clock=lambda: time.time() - ADDING_SECONDS - 1))
    store.add(job("half"), 100, PLENTY)
    store.close()
    Files(str(tmp_path / "jobs"), "").write("half/archive", b"half")

    with gateway(tmp_path) as client:
        until(lambda: client.get("/v1/jobs").json() == {"jobs": []})
        until(lambda: not list((tmp_path / "jobs").iterdir()))
