"""Jobs on a disk that is really full: nothing is lost, and the job says what holds it up."""

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from lexiseg_service.batch.files import Files
from tests.service.batch.http.asking import PNG, create, finished, gateway, lines, zipped
from tests.service.gateway.known_backend import GatedBackend
from tests.waiting import until

COUNT = 40
ARCHIVE = zipped({f"{number:02d}.png": PNG for number in range(COUNT)})
NO_ROOM = "No space left on device"
MAY_MOUNT = sys.platform == "linux" and os.geteuid() == 0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 4 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", disk], capture_output=True)
    if made.returncode:
        pytest.skip(f"no disk of its own here: {made.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


def fill(disk: Path) -> Path:
    """Take all room."""
    with (disk / "filler").open("wb", buffering=0) as file:
        for size in (2**16, 2**12, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
    return disk / "filler"


def detail(client: httpx.Client, created: httpx.Response) -> str:
    return str(client.get(created.headers["Location"]).json()["detail"])


def test_a_disk_that_refuses_costs_time_and_no_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where no disk can be mounted."""

    def refuse(files: Files, name: str, content: bytes) -> None:
        raise OSError(errno.ENOSPC, NO_ROOM)

    with gateway(tmp_path, backend := GatedBackend()) as client:
        created = create(client, ARCHIVE)
        with monkeypatch.context() as full:
            full.setattr(Files, "write", refuse)
            backend.open_for = COUNT
            until(lambda: NO_ROOM in detail(client, created))

        job = finished(client, created)
        assert (job["done"], job["failed"], job["detail"]) == (COUNT, 0, None)


@pytest.mark.skipif(not MAY_MOUNT, reason="only root mounts a disk")
def test_a_running_job_says_that_the_disk_is_full_and_goes_on_when_there_is_room(disk: Path) -> None:
    backend = GatedBackend()
    with gateway(disk / "state", backend) as client:
        created = create(client, ARCHIVE)
        until(lambda: client.get(created.headers["Location"]).json()["state"] == "running")
        filler = fill(disk)
        backend.open_for = COUNT

        until(lambda: NO_ROOM in detail(client, created), told=lambda: detail(client, created))
        filler.unlink()

        job = finished(client, created)
        assert (job["done"], job["failed"], job["detail"]) == (COUNT, 0, None)
        assert sorted(line["number"] for line in lines(client, job["id"])) == list(range(COUNT))


@pytest.mark.skipif(not MAY_MOUNT, reason="only root mounts a disk")
def test_jobs_are_erased_from_a_full_disk(disk: Path) -> None:
    with gateway(disk / "state") as client:
        job = finished(client, create(client, ARCHIVE))
        fill(disk)

        answer = client.delete("/v1/data")

        assert (answer.status_code, answer.json()["jobs"]) == (200, 1)
        assert not (disk / "state" / "jobs" / job["id"]).exists()
