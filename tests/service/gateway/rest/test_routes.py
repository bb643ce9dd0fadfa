import asyncio
import gc
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from pydantic import TypeAdapter

from lexiseg_model.catalogue.available import available
from lexiseg_service.errors import DeadlineExceeded, QueueFull, ServiceError
from lexiseg_service.gateway import image_requests
from lexiseg_service.gateway.admission.key_file import line_of
from lexiseg_service.question.backend import Health
from lexiseg_service.question.messages import WorkerAnswer, WorkerRequest
from lexiseg_service.question.schemas import SegmentAnswers
from tests import pictures
from tests.service.gateway.known_backend import KnownBackend, SlowBackend
from tests.service.gateway.rest.raw import WHOLE, listening
from tests.service.gateway.serving import ANN, form, on_ports, serving


async def test_a_service_that_loads_is_alive_but_not_ready(client: httpx.AsyncClient, backend: KnownBackend) -> None:
    backend.now = Health(True, False, "loading colours")

    live, ready = await client.get("/livez"), await client.get("/readyz")

    assert (live.status_code, ready.status_code) == (200, 503)
    assert ready.json()["detail"] == "loading colours"


async def test_a_service_whose_model_failed_is_not_alive(client: httpx.AsyncClient, backend: KnownBackend) -> None:
    backend.now = Health(False, False, "colours cannot be loaded")

    live = await client.get("/livez")

    assert (live.status_code, live.json()["status"]) == (503, "dead")


async def test_a_model_has_its_name_with_or_without_its_version(client: httpx.AsyncClient) -> None:
    cards = [(await client.get(f"/models/{name}")).json() for name in ("colours", "colours@1")]
    unknown = [await client.get(f"/models/{name}") for name in ("colours@2", "nope", "%00", "colours@", "@1")]

    assert [(card["name"], card["digest"]) for card in cards] == [("colours", "digest")] * 2
    assert {(answer.status_code, answer.json()["type"]) for answer in unknown} == {(404, "unknown-model")}


def test_optional_parts_are_listed_for_whom_they_are_on(tmp_path: Path) -> None:
    parts = {"jobs": True, "trainings": tmp_path / "trainings", "state_dir": tmp_path}
    keys = "\n".join([line_of("ann", "asks", ["segment"]), line_of("bob", "trains", ["segment", "admin"])])
    features = []
    for settings, key in (({}, "none"), ({"api_keys": keys}, "asks"), ({"api_keys": keys}, "trains")):
        with on_ports(KnownBackend(), **parts, **settings) as ports:
            answer = httpx.get(f"{ports.url}/v1/models", headers={"X-API-Key": key})
        features.append(answer.json()["features"])

    assert features == [["jobs", "heads", "trainings"], ["jobs", "heads"], ["jobs", "heads", "trainings"]]


async def test_a_service_under_a_path_of_its_own_answers_questions(client: httpx.AsyncClient) -> None:
    transport = httpx.ASGITransport(client._transport.app, root_path="/here")  # type: ignore[attr-defined]
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        answer = await client.post("/here/segment", files=form("sky"))
        described = await client.get("/here/openapi.json")

    assert answer.status_code == 200
    assert described.json()["servers"] == [{"url": "/here"}]


class OneByOne(KnownBackend):
    """Answers an image after those sent later, and raises what it has for a number of the question."""

    def __init__(self, failures: Mapping[int, ServiceError] | None = None) -> None:
        super().__init__()
        self.failures = failures or {}

    async def segment(self, request: WorkerRequest) -> WorkerAnswer:
        assert request.header is not None
        number = request.header.size[1] - FIRST_WIDTH
        for _ in range(10 - 3 * number):
            await asyncio.sleep(0)
        if number in self.failures:
            raise self.failures[number]
        return replace(await super().segment(request), image_id=str(number))


FIRST_WIDTH = 20


def three_images(*, damaged: int | None = None) -> list[Any]:
    """A form of three images of rising widths."""
    contents = [pictures.encoded(Image.new("RGB", (FIRST_WIDTH + number, 20))) for number in range(3)]
    if damaged is not None:
        contents[damaged] = contents[damaged][:30]
    return [("classes", (None, "sky")), *(("image", (f"{n}.png", content)) for n, content in enumerate(contents))]


async def test_several_images_get_their_answers_in_order() -> None:
    async with serving(backend=OneByOne()) as client:
        answer = await client.post("/segment", files=three_images(), headers={"x-request-id": "mine"})

    answers = answer.json()["answers"]
    assert answer.status_code == 200
    assert [(each["id"], each["image_id"]) for each in answers] == [("mine-0", "0"), ("mine-1", "1"), ("mine-2", "2")]
    TypeAdapter(SegmentAnswers).validate_json(answer.content, strict=False)


async def test_each_of_several_images_counts_as_a_request() -> None:
    key = line_of("ann", "ann", limits=["daily=4"])
    async with serving(backend=OneByOne(), api_keys=key) as client:
        statuses = [
            (await client.post("/segment", files=three_images()[: 1 + n_images], headers=ANN)).status_code
            for n_images in (3, 1, 1)
        ]

    assert statuses == [200, 200, 429]


class UntilTheDeadline(KnownBackend):
    """Answers nothing until a request's deadline has passed."""

    async def segment(self, request: WorkerRequest) -> WorkerAnswer:
        self.asked.append(request)
        while time.monotonic() < request.deadline:
            await asyncio.sleep(0.01)
        raise DeadlineExceeded("the deadline has passed")


async def test_several_images_share_one_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_requests, "MAX_CONCURRENT", 2)
    backend = UntilTheDeadline()
    async with serving(backend=backend, deadline_seconds=0.5) as client:
        answer = await client.post("/segment", files=three_images())

    assert [each["status"] for each in answer.json()["answers"]] == [504] * 3
    assert len(backend.asked) <= 2  # not the third, whose turn comes after it


async def test_an_image_that_fails_has_its_problem_and_the_others_their_answers() -> None:
    late = DeadlineExceeded("the deadline has passed")
    async with serving(backend=OneByOne({2: late})) as client:
        answer = await client.post("/segment", files=three_images(damaged=1))

    first, second, third = answer.json()["answers"]
    assert (answer.status_code, first["image_id"]) == (207, "0")
    assert (second["type"], second["status"], second["detail"][:9]) == ("undecodable-image", 422, "image.1: ")
    assert (third["type"], third["status"]) == ("deadline-exceeded", 504)


async def test_a_wrong_question_about_several_images_is_refused_once() -> None:
    async with serving(backend=OneByOne()) as client:
        answer = await client.post("/segment", files=three_images()[1:])

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "classes")


@pytest.mark.parametrize("n_images", [1, 3])
async def test_a_full_queue_refuses_one_or_several_images_with_retry_after(n_images: int) -> None:
    full = {number: QueueFull("the queue is full", 3) for number in range(3)}
    async with serving(backend=OneByOne(full)) as client:
        answer = await client.post("/segment", files=three_images()[: 1 + n_images])

    assert (answer.status_code, answer.headers["retry-after"]) == (429, "3")


async def test_work_is_cancelled_when_an_http_client_hangs_up() -> None:
    silent = SlowBackend()
    async with listening(silent) as here:
        request = httpx.Request("POST", "http://localhost/segment", files=form("sky"))
        raw = await here.open()
        head = b"".join(b"%s: %s\r\n" % field for field in request.headers.raw)
        raw.writer.write(b"POST /segment HTTP/1.1\r\n" + head + b"\r\n" + request.read())
        await silent.reached.wait()
        here.hang_up()
        await silent.cancelled.wait()

        failed = here.metrics.registry.get_sample_value("lexiseg_request_failures_total", {"reason": "canceled"})
    assert failed == 1


async def test_an_error_of_work_whose_client_has_left_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    class FailsAtItsEnd(SlowBackend):
        async def segment(self, request: WorkerRequest) -> WorkerAnswer:
            try:
                return await super().segment(request)
            except asyncio.CancelledError:
                raise QueueFull("no worker has room") from None

    backend = FailsAtItsEnd()
    async with listening(backend) as here:
        await (await here.open()).send(WHOLE)
        await backend.reached.wait()
        here.hang_up()
        await backend.cancelled.wait()
    gc.collect()

    assert "never retrieved" not in caplog.text


async def test_the_models_that_could_be_served_are_listed(client: httpx.AsyncClient) -> None:
    models = (await client.get("/v1/models/available")).json()["models"]

    assert [model["name"] for model in models] == list(available())
    assert models[0].keys() == {
        *("name", "method", "backbone", "hub", "download_mb", "memory_mb", "commercial_use", "licence"),
        *("figures", "source", "command", "further", "proven", "forward_equal", "comparison"),
    }
