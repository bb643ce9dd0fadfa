"""Erasure of jobs: gone at once, repeated until no file is left, and told truly."""

import errno
import math
from pathlib import Path
from typing import Any

import httpx
import pytest

from lexiseg_service.batch.files import Files
from lexiseg_service.batch.http import jobs
from lexiseg_service.batch.ledger.job import Ledger
from lexiseg_service.errors import NotReady
from lexiseg_service.gateway.vocabularies.collection import Vocabularies
from lexiseg_service.records.store import StoreAway
from tests.service.batch.http.asking import PNG, create, finished, gateway, zipped
from tests.service.gateway.known_backend import GatedBackend
from tests.waiting import until

NOTHING = {"leftovers": 0, "heads": 0, "trainings": 0, "vocabularies": 0}  # of the kinds beside jobs
ARCHIVE = zipped({f"{number:02d}.png": PNG for number in range(40)})


def of_jobs(folder: Path) -> list[Path]:
    return list((folder / "jobs").iterdir())


def accepted(client: httpx.Client) -> dict[str, Any]:
    """A new job. On a busy machine Redis answers late, and the gateway 503: then it is sent again."""
    answers: list[httpx.Response] = []

    def is_answered() -> bool:
        answers.append(create(client, ARCHIVE))
        return answers[-1].status_code != 503

    until(is_answered)
    assert answers[-1].status_code == 202, answers[-1].text
    job: dict[str, Any] = answers[-1].json()
    return job


def test_everything_is_erased_while_jobs_run(
    tmp_path: Path, store: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lexiseg_service.batch.runner.FLUSH_SECONDS", 0.0)  # a file for each picture
    with gateway(tmp_path, GatedBackend(open_for=math.inf), **store) as client:
        for _ in range(4):
            created = [accepted(client) for _ in range(4)]
            until(lambda: any(job["done"] for job in client.get("/v1/jobs").json()["jobs"]))
            kept = {job["id"] for job in client.get("/v1/jobs").json()["jobs"]}
            assert kept >= {job["id"] for job in created}

            answer = client.delete("/v1/data")

            assert (answer.status_code, answer.json()) == (200, {"jobs": len(kept), **NOTHING})
            assert client.get("/v1/jobs").json() == {"jobs": []}
            assert client.get(f"/v1/jobs/{created[0]['id']}").status_code == 404
        until(lambda: not of_jobs(tmp_path))


def test_an_erasure_that_fails_is_repeated_by_the_next_gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "REPEAT_SECONDS", 0.01)
    monkeypatch.setattr(jobs, "RECORD_SECONDS", 0.0)  # a failing one is repeated beyond them
    attempts: list[str] = []

    def refuse(files: Files, name: str) -> None:
        attempts.append(name)
        raise OSError(errno.ENOTEMPTY, "Directory not empty")

    with monkeypatch.context() as broken, gateway(tmp_path) as client:
        job = finished(client, create(client, ARCHIVE))
        broken.setattr(Files, "remove", refuse)
        assert client.delete(f"/v1/jobs/{job['id']}").status_code == 204
        assert client.get(f"/v1/jobs/{job['id']}").status_code == 404
        until(lambda: len(attempts) > 3)
    assert of_jobs(tmp_path)

    with gateway(tmp_path):
        until(lambda: not of_jobs(tmp_path))


def test_a_file_that_a_lane_writes_late_is_removed_too(tmp_path: Path) -> None:
    with gateway(tmp_path) as client:
        job = finished(client, create(client, ARCHIVE))
        client.delete(f"/v1/jobs/{job['id']}").raise_for_status()
        Files(str(tmp_path / "jobs"), "").write(f"{job['id']}/parts/late.jsonl", b"{}\n")

    with gateway(tmp_path):
        until(lambda: not of_jobs(tmp_path))


@pytest.mark.parametrize("kind", ["jobs", "vocabularies"])
def test_one_kind_that_fails_leaves_none_of_the_others(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(self: object, caller: object) -> int:
        raise NotReady("the disk is away")

    def away(store: Ledger, identities: object) -> None:
        raise StoreAway("the disk is away")

    with gateway(tmp_path) as client:
        finished(client, create(client, ARCHIVE))
        client.put("/v1/vocabularies/mine", json={"classes": ["sky"]}).raise_for_status()
        with monkeypatch.context() as broken:
            if kind == "jobs":
                broken.setattr(Ledger, "erase", away)
            else:
                broken.setattr(Vocabularies, "delete_all", refuse)
            answer = client.delete("/v1/data")
        after = client.delete("/v1/data").json()

    expected = NOTHING | {"jobs": 1, "vocabularies": 1}
    left = expected.pop(kind)
    problem = answer.json()
    assert (answer.status_code, problem["type"], problem["erased"]) == (503, "not-ready", expected)
    assert f"not erased: {kind}: " in problem["detail"]
    assert after == dict.fromkeys(expected, 0) | {kind: left}


def test_files_make_room_where_an_erasure_cannot_be_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = Ledger.erase

    def full_until_files_are_gone(store: Ledger, identities: list[str]) -> None:
        if of_jobs(tmp_path):
            raise StoreAway("database or disk is full")
        record(store, identities)

    with gateway(tmp_path) as client:
        job = finished(client, create(client, ARCHIVE))
        monkeypatch.setattr(Ledger, "erase", full_until_files_are_gone)

        assert client.delete(f"/v1/jobs/{job['id']}").status_code == 204
        assert of_jobs(tmp_path) == []
