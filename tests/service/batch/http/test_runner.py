"""Jobs go on through refusals, full disks, and gateways that stop."""

import json
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from lexiseg_service.batch.files import Files
from lexiseg_service.batch.ledger.job import Ledger
from lexiseg_service.batch.runner import part_path
from lexiseg_service.errors import QueueFull, ServiceError
from lexiseg_service.question.backend import Health
from lexiseg_service.question.messages import WorkerAnswer, WorkerRequest
from lexiseg_service.records.sqlite import FILE, SqliteStore
from tests.service.batch.http.asking import PNG, create, finished, gateway, lines, zipped
from tests.service.gateway.known_backend import GatedBackend, KnownBackend
from tests.waiting import until

COUNT = 40
ARCHIVE = zipped({f"{number:02d}.png": PNG for number in range(COUNT)})


@dataclass
class Refusing(KnownBackend):
    """Refuses each of the first `refusals` requests."""

    refusals: list[ServiceError] = field(default_factory=list)

    async def segment(self, request: WorkerRequest) -> WorkerAnswer:
        if self.refusals:
            raise self.refusals.pop()
        return await super().segment(request)


def numbers(client: httpx.Client, identity: str) -> list[int]:
    return sorted(line["number"] for line in lines(client, identity))


def test_a_picture_that_is_refused_for_now_is_asked_again(tmp_path: Path) -> None:
    backend = Refusing(refusals=[QueueFull("full", 0) for _ in range(3)])
    with gateway(tmp_path, backend) as client:
        job = finished(client, create(client, ARCHIVE))

        assert (job["done"], job["failed"]) == (COUNT, 0)
        assert numbers(client, job["id"]) == list(range(COUNT))


def test_a_picture_that_always_fails_gets_a_problem(tmp_path: Path) -> None:
    with gateway(tmp_path, KnownBackend(failure=ServiceError("broken"))) as client:
        job = finished(client, create(client, zipped({"a.png": PNG})))

        assert job["failed"] == 1
        assert lines(client, job["id"])[0]["problem"]["type"] == "internal-error"


def test_a_job_waits_for_workers_that_are_away(tmp_path: Path) -> None:
    backend = KnownBackend(now=Health(True, False, "no worker is ready"))
    with gateway(tmp_path, backend) as client:
        created = create(client, ARCHIVE)
        identity = created.json()["id"]
        until(lambda: client.get(f"/v1/jobs/{identity}").json()["state"] == "running")
        assert backend.asked == []
        backend.now = KnownBackend().now

        assert finished(client, created)["done"] == COUNT


def test_another_gateway_finishes_what_one_that_stops_has_begun(tmp_path: Path) -> None:
    first = GatedBackend(open_for=10)
    with gateway(tmp_path, first, drain_seconds=0) as client:
        created = create(client, ARCHIVE)
        first.held.wait(60)
    second = KnownBackend()
    with gateway(tmp_path, second) as client:
        job = finished(client, created)

        assert numbers(client, job["id"]) == list(range(COUNT))
        assert job["done"] == COUNT


def test_two_gateways_share_a_job_and_answer_each_picture_once(tmp_path: Path) -> None:
    backends = KnownBackend(), KnownBackend()
    with gateway(tmp_path, backends[0]) as client, gateway(tmp_path, backends[1]):
        job = finished(client, create(client, ARCHIVE))

        assert numbers(client, job["id"]) == list(range(COUNT))
        assert sum(len(backend.asked) for backend in backends) == COUNT


def test_a_picture_that_is_answered_twice_has_one_line(tmp_path: Path) -> None:
    with gateway(tmp_path) as client, closing(Ledger(SqliteStore(tmp_path / FILE))) as ledger:
        job = finished(client, create(client, zipped({"a.png": PNG})))
        found = lines(client, job["id"])
        Files(str(tmp_path / "jobs"), "").write(part_path(job["id"], "late"), json.dumps(found[0]).encode())
        assert ledger.commit(job["id"], "late", {0: False}, 10)  # by a gateway that was taken for gone

        assert [line["number"] for line in lines(client, job["id"])] == [0]


def test_jobs_that_have_ended_are_removed_after_the_days_that_they_are_kept(tmp_path: Path) -> None:
    with gateway(tmp_path, KnownBackend()) as client:
        job = finished(client, create(client, ARCHIVE))
    with gateway(tmp_path, KnownBackend(), keep_days=1e-9) as client:
        until(lambda: client.get("/v1/jobs").json() == {"jobs": []})
        until(lambda: not (tmp_path / "jobs" / job["id"]).exists())


def test_a_job_that_has_expired_is_gone_before_it_is_erased(tmp_path: Path) -> None:
    with gateway(tmp_path, KnownBackend(), keep_days=1e-9) as client:
        place = create(client, ARCHIVE).headers["Location"]
        until(lambda: client.get(place).status_code == 404)

        assert [client.get(place + route).status_code for route in ("/results", "/events")] == [404, 404]
        assert client.get("/v1/jobs").json() == {"jobs": []}


def test_a_job_leaves_the_workers_to_other_requests(tmp_path: Path) -> None:
    backend = GatedBackend()
    with gateway(tmp_path, backend, drain_seconds=0) as client, ThreadPoolExecutor(1) as threads:
        asking = threads.submit(client.post, "/v1/segment", files=[("image", ("a.png", PNG))], data={"classes": "sky"})
        until(lambda: backend.waiting == 1)
        created = create(client, ARCHIVE)
        until(lambda: backend.waiting == 2)
        until(lambda: client.get(created.headers["Location"]).json()["state"] == "running")

        assert backend.waiting == 2
        backend.open_for = 10**6
        assert asking.result().status_code == 200
        assert finished(client, created)["done"] == COUNT


def test_a_job_whose_row_is_damaged_holds_up_no_other(tmp_path: Path) -> None:
    with gateway(tmp_path, GatedBackend(), drain_seconds=0) as client:
        damaged = create(client, ARCHIVE).json()["id"]
    with sqlite3.connect(tmp_path / "records.sqlite") as rows:
        rows.execute("UPDATE items SET content = '{' WHERE kind = 'batch-job' AND id = ?", (damaged,))
    rows.close()

    with gateway(tmp_path, KnownBackend()) as client:
        assert finished(client, create(client, ARCHIVE))["done"] == COUNT
