"""Uploads and events of jobs and trainings through HAProxy with deploy/edge/haproxy.cfg."""

import json
import zipfile
from collections.abc import Iterator

import httpx
import pytest

from lexiseg_service.gateway.trainings.training import TrainingStore
from tests.integration.edge import started
from tests.service.batch.http.asking import PNG, QUESTION, zipped
from tests.service.gateway.known_backend import KnownBackend
from tests.service.gateway.serving import on_ports
from tests.waiting import SOON

# 31 MiB: more than any other body may have.
ARCHIVE = zipped({"a.png": PNG, "b.png": PNG, "notes.bin": bytes(31 * 2**20)}, zipfile.ZIP_STORED)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("edge")
    settings = {"jobs": True, "state_dir": folder / "state", "trainings": folder / "trainings"}
    (folder / "trainings").mkdir()
    TrainingStore(folder / "trainings").beat()  # as a trainer at work does
    with (
        on_ports(KnownBackend(), **settings) as ports,
        started(ports.url.removeprefix("http://"), ports.grpc, folder / "log") as edge,
        httpx.Client(base_url=edge.url, timeout=SOON) as client,
    ):
        yield client


def send(client: httpx.Client, route: str, asked: object) -> httpx.Response:
    return client.post(f"/v1/{route}", data={"request": json.dumps(asked)}, files={"archive": ("a.zip", ARCHIVE)})


@pytest.mark.parametrize(
    ("route", "asked"), [("jobs", {"question": QUESTION}), ("trainings", {"name": "mine", "start": "colours"})]
)
def test_a_large_archive_passes(client: httpx.Client, route: str, asked: object) -> None:
    answer = send(client, route, asked)

    assert answer.status_code == 202, answer.text


def test_events_of_a_job_pass_as_they_come(client: httpx.Client) -> None:
    job = send(client, "jobs", {"question": QUESTION}).json()

    with client.stream("GET", f"/v1/jobs/{job['id']}/events") as answer:
        events = [line for line in answer.iter_lines() if line.startswith("event: ")]

    assert events[-1] == "event: done"
