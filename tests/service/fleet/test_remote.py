"""Remote workers as one backend: routing, retries and errors."""

import asyncio
import json
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import generate_latest
from structlog.testing import capture_logs

from lexiseg_client.stubs import worker_pb2 as pb
from lexiseg_service.commands.options import settings_of
from lexiseg_service.errors import (
    DeadlineExceeded,
    ImageExpired,
    InvalidValue,
    NotReady,
    QueueFull,
    ServiceError,
    UndecodableImage,
)
from lexiseg_service.fleet import discovery
from lexiseg_service.fleet.discovery import Discovery, split
from lexiseg_service.fleet.remote import SPILL_AT, RemoteBackend, choose, ranked
from lexiseg_service.image.reader import image_id_of
from lexiseg_service.image.url_fetch import Resolve
from lexiseg_service.question.backend import Health
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.worker import grpc_server
from tests.service.fleet.workers import IMAGES, Someone, asked_images, looking, question, started
from tests.service.gateway.serving import serving
from tests.service.wire.newer_release import UNKNOWN_WORD, with_more_fields
from tests.waiting import soon


async def test_a_worker_without_an_address_counts_as_missing() -> None:
    async with started(Someone()) as fleet:
        metrics = Metrics()
        addresses = f"127.0.0.1:{fleet.servers[0].port}", "dns:///nobody.invalid:50061"
        async with looking(*addresses, metrics=metrics) as backend:
            await soon(lambda: backend.health().ready)
            health, scrape = backend.health(), generate_latest(metrics.registry).decode()

    assert health.detail == "1 of 2 workers are ready"
    assert "worker nobody.invalid:50061: no address" in health.degraded
    assert 'lexiseg_workers{state="missing"} 1.0' in scrape
    assert 'lexiseg_workers{state="ready"} 1.0' in scrape
    assert 'lexiseg_worker_ready{worker="nobody.invalid:50061"} 0.0' in scrape


class OfOtherTasks(grpc_server.Servicer):
    """A worker of a newer release whose cards name no task that this one knows."""

    def _status(self) -> pb.WatchStatusResponse:
        status = with_more_fields(super()._status())
        for model in status.models:
            model.card = json.dumps(json.loads(model.card) | {"tasks": [UNKNOWN_WORD]})
        return status


async def test_a_gateway_is_not_ready_without_a_card_that_it_understands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grpc_server, "Servicer", OfOtherTasks)
    async with started(Someone(), ready=0) as fleet:
        await fleet.until(lambda: any("cards" in problem for problem in fleet.backend.health().degraded))
        async with serving(backend=fleet.backend) as client:
            readiness = await client.get("/readyz")

    assert readiness.status_code == 503
    assert readiness.json()["detail"] == "0 of 1 workers are ready"
    assert readiness.json()["degraded"] == [
        f"worker 127.0.0.1:{fleet.servers[0].port}: its cards are not understood by this release"
    ]


def test_a_removed_folder_of_sockets_is_no_healthy_process(tmp_path: Path) -> None:
    folder = tmp_path / "sockets"
    folder.mkdir()
    backend = RemoteBackend(Settings.model_construct(workers=(f"unix:{folder}/worker-0", "10.0.0.7:50061")), Metrics())
    assert backend.health().alive

    folder.rmdir()

    assert not backend.health().alive
    assert backend.health().detail == "the folder of the workers' sockets was removed: sockets"


async def test_one_image_stays_with_one_worker_and_images_are_spread() -> None:
    first, second = Someone(), Someone()
    async with started(first, second) as fleet:
        for _ in range(2):
            for image in IMAGES:
                await fleet.backend.segment(question(image))

    assert asked_images(first) | asked_images(second) == set(IMAGES)
    assert not asked_images(first) & asked_images(second)
    assert min(len(asked_images(first)), len(asked_images(second))) > 5


async def test_a_busy_worker_spills_images_and_they_are_found_again() -> None:
    first, second = Someone(held=True), Someone(held=True)
    async with started(first, second) as fleet:
        crowd = [asyncio.ensure_future(fleet.backend.segment(question(IMAGES[0]))) for _ in range(SPILL_AT + 1)]
        await fleet.until(lambda: len(first.asked) + len(second.asked) == SPILL_AT + 1)
        busy, idle = sorted((first, second), key=lambda worker: -len(worker.asked))
        for worker in (first, second):
            worker.gate.set()
        await asyncio.gather(*crowd)
        await fleet.backend.segment(question(None, image_id=image_id_of(IMAGES[0])))

    assert len(idle.asked) == 2  # what was handed over, and the second question about it
    assert idle.asked[-1].image is None
    assert len(busy.asked) == SPILL_AT


@pytest.mark.parametrize(
    ("refusal", "heard"),
    [(NotReady("going down"), ImageExpired), (QueueFull("full", 3), QueueFull)],
    ids=["a worker that goes away takes its images along", "a full queue may have it"],
)
async def test_the_most_useful_error_about_a_missing_image_is_reported(
    refusal: ServiceError, heard: type[ServiceError]
) -> None:
    async with started(Someone(failure=refusal), Someone(failure=ImageExpired("gone"))) as fleet:
        for image in IMAGES[:8]:  # first the one is asked, or the other
            with pytest.raises(heard):
                await fleet.backend.segment(question(None, image_id=image_id_of(image)))


@pytest.mark.parametrize("failure", [NotReady("going down"), QueueFull("full", 3)], ids=lambda error: error.type)
async def test_a_request_that_one_worker_cannot_take_is_retried(failure: ServiceError) -> None:
    unable, able = Someone(failure=failure), Someone()
    async with started(unable, able) as fleet:
        for image in IMAGES:
            await fleet.backend.segment(question(image))

    assert unable.asked
    assert asked_images(able) == set(IMAGES)


async def test_full_queues_everywhere_are_reported_with_retry_after() -> None:
    async with started(Someone(failure=QueueFull("full", 3)), Someone(failure=QueueFull("full", 3))) as fleet:
        with pytest.raises(QueueFull) as refused:
            await fleet.backend.segment(question())

    assert refused.value.headers["Retry-After"] == "3"


@pytest.mark.parametrize(
    "failure",
    [UndecodableImage("damaged"), InvalidValue.of("threshold", 2, "at most 1"), ServiceError("unforeseen")],
    ids=lambda error: error.type,
)
async def test_a_refusal_of_the_request_itself_is_not_retried(failure: ServiceError) -> None:
    first, second = Someone(failure=failure), Someone(failure=failure)
    async with started(first, second) as fleet:
        with pytest.raises(type(failure), match=failure.detail):
            await fleet.backend.segment(question())

    assert len(first.asked) + len(second.asked) == 1


async def test_workers_are_asked_for_their_own_models_alone() -> None:
    cats, dogs = Someone(name="cats"), Someone(name="dogs")
    async with started(cats, dogs) as fleet:
        for image in IMAGES:
            await fleet.backend.segment(question(image, model="cats"))
            await fleet.backend.segment(question(image, model="dogs@1"))
        names = [card.name for card in fleet.backend.cards()]
        with pytest.raises(NotReady, match="no worker with model birds is ready"):
            await fleet.backend.segment(question(model="birds"))

    assert names == ["cats", "dogs"]
    assert {request.model for request in cats.asked} == {"cats"}
    assert {request.model for request in dogs.asked} == {"dogs@1"}
    assert asked_images(cats) == asked_images(dogs) == set(IMAGES)


async def test_two_versions_of_a_model_are_told_apart() -> None:
    old, new = Someone(version="1"), Someone(version="2")
    async with started(old, new) as fleet:
        for image in IMAGES:
            await fleet.backend.segment(question(image, model="colours@2"))
        versions = [card.version for card in fleet.backend.cards()]
        fleet.workers[0].digests = "old"
        await fleet.until(lambda: fleet.backend.digest("colours@1") == "old")
        digests = [fleet.backend.digest(f"colours@{version}") for version in versions]

    assert versions == ["1", "2"]
    assert digests == ["old", "digest"]
    assert not old.asked
    assert len(new.asked) == len(IMAGES)


async def test_a_model_whose_worker_is_away_is_known_and_away() -> None:
    async with started(Someone(name="cats"), Someone(name="dogs")) as fleet:
        await fleet.end(1)
        await fleet.ready(1)
        health = fleet.backend.health()
        names = {card.name for card in fleet.backend.cards()}
        with pytest.raises(NotReady):
            await fleet.backend.segment(question(model="dogs"))

    assert health.ready
    assert health.away == ("dogs",)
    assert health.degraded == (f"worker 127.0.0.1:{fleet.servers[1].port}: does not answer",)
    assert names == {"cats", "dogs"}


async def test_a_worker_that_loads_a_version_for_the_first_time_is_asked_only_if_all_do() -> None:
    loads = Health(True, True, "warm", awaited=("colours@1",))
    first, second = Someone(now=loads), Someone(now=loads)
    async with started(first, second) as fleet:
        for image in IMAGES[:4]:
            await fleet.backend.segment(question(image))
        waited_for = len(first.asked) + len(second.asked)
        second.now = Health(True, True, "warm", ("now it has it",))
        await fleet.until(lambda: "now it has it" in fleet.backend.health().degraded)
        before = len(first.asked)
        for image in IMAGES:
            await fleet.backend.segment(question(image))

    assert waited_for == 4
    assert len(first.asked) == before
    assert len(second.asked) == waited_for - before + len(IMAGES)


async def test_a_deadline_that_passes_ends_the_work_too() -> None:
    worker = Someone(held=True)
    async with started(worker) as fleet:
        for seconds in (0.2, 2, 20):  # on a slow machine the first may be over before the worker is asked
            with pytest.raises(DeadlineExceeded):
                await fleet.backend.segment(question(deadline=time.monotonic() + seconds))
            if worker.asked:
                break
        await fleet.until(lambda: worker.abandoned == 1)
        with pytest.raises(DeadlineExceeded):
            await fleet.backend.segment(question(deadline=time.monotonic() - 1))

    assert len(worker.asked) == 1
    assert worker.asked[0].deadline < time.monotonic()


async def test_cancelling_a_request_cancels_it_at_the_worker() -> None:
    worker = Someone(held=True)
    async with started(worker) as fleet:
        asking = asyncio.ensure_future(fleet.backend.segment(question()))
        await fleet.until(lambda: len(worker.asked) == 1)
        asking.cancel()
        await fleet.until(lambda: worker.abandoned == 1)


async def test_without_a_worker_nobody_is_ready() -> None:
    async with started(ready=0) as fleet:
        with pytest.raises(NotReady):
            await fleet.backend.segment(question())
        assert fleet.backend.cards() == []
        assert not fleet.backend.health().ready


@dataclass(frozen=True)
class Worker:
    address: str
    load: int = 0
    room: int = 64


def fleet(number: int) -> list[Any]:
    return [Worker(f"10.0.0.{host}:50061") for host in range(number)]


KEYS = [f"tiny|{number:032x}" for number in range(2000)]


def test_every_gateway_ranks_alike_whatever_the_order_it_knows_workers_in() -> None:
    workers = fleet(5)

    assert all(ranked(workers, key) == ranked(workers[::-1], key) for key in KEYS)


def test_a_worker_that_goes_moves_no_image_but_its_own() -> None:
    workers = fleet(5)
    gone = workers[2]

    for key in KEYS:
        before = choose(ranked(workers, key))
        assert before in (gone, choose(ranked([worker for worker in workers if worker != gone], key)))


def answering(names: dict[str, list[str]]) -> Resolve:
    """A resolver that knows these names, the slow ones without addresses; they may change meanwhile."""

    async def resolve(host: str, port: int) -> list[str]:
        if host not in names:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        if not names[host]:
            await asyncio.sleep(60)
        return names[host]

    return resolve


@pytest.mark.parametrize(
    ("target", "parts"),
    [
        ("10.0.0.7:50061", ("10.0.0.7", 50061)),
        ("worker:1", ("worker", 1)),
        ("dns:///workers.lexiseg.svc:50061", ("workers.lexiseg.svc", 50061)),
        ("[::1]:50061", ("::1", 50061)),
    ],
)
def test_a_target_is_a_host_and_a_port(target: str, parts: tuple[str, int]) -> None:
    assert split(target) == parts


async def test_a_name_stands_for_all_its_machines_each_once_and_follows_them() -> None:
    names = {"workers": ["10.0.0.9", "fd00::9", "10.0.0.8"], "sixes": ["fd00::8"]}
    found = Discovery(["dns:///workers:50061", "sixes:1"], answering(names))

    before = await found.addresses()
    names["workers"] = ["10.0.0.8", "10.0.0.10"]
    after = await found.addresses()

    assert before == ["10.0.0.8:50061", "10.0.0.9:50061", "[fd00::8]:1"]
    assert after == ["10.0.0.10:50061", "10.0.0.8:50061", "[fd00::8]:1"]


async def test_a_name_that_cannot_be_looked_up_keeps_its_addresses_and_is_named_in_the_log_until_it_can(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(discovery, "LOOKUP_SECONDS", 0.05)
    known = {"workers": ["10.0.0.8"], "slow": ["10.0.0.9"]}
    names = {**known}
    found = Discovery(["workers:1", "slow:1", "nobody:1"], answering(names))
    lost: dict[str, list[str]] = {"slow": []}

    with capture_logs() as lines:
        before = await found.addresses()
        after = []
        for now in (lost, lost, known, lost):
            names.clear()
            names.update(now)
            after.append(await found.addresses())

    assert [before, *after] == [["10.0.0.8:1", "10.0.0.9:1"]] * 5
    assert {(line["log_level"], line["event"]) for line in lines} == {("warning", "name lookup failed")}
    again = [("slow:1", "TimeoutError"), ("workers:1", "unknown")]
    assert sorted((line["worker"], line["reason"]) for line in lines) == sorted([("nobody:1", "unknown"), *again * 2])


@pytest.mark.parametrize("workers", ["worker", "http://worker:1", "a:1,b", "worker:port", "a:1;b:2", "[::1:1"])
def test_what_is_no_address_is_refused(workers: str) -> None:
    with pytest.raises(InvalidValue, match=r"--workers / LEXISEG_WORKERS: expected HOST:PORT"):
        settings_of({"workers": workers})
