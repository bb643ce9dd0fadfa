"""What a change of a head costs is bounded: before it is solved, in time, and for other clients."""

import asyncio
import json
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from lexiseg_model.errors import StoppedError
from lexiseg_model.masks.encodings import to_png
from lexiseg_model.vocabulary.solving import solve
from lexiseg_service.gateway import image_requests
from lexiseg_service.gateway.admission.key_file import line_of
from lexiseg_service.gateway.heads import collection, solver
from lexiseg_service.gateway.heads.head import NamedHead
from lexiseg_service.question.backend import Taught
from lexiseg_service.question.messages import WorkerAnswer, WorkerRequest
from lexiseg_service.watch.metrics import Metrics
from tests.redis_server import RedisServer
from tests.service.gateway.known_backend import KnownBackend
from tests.service.gateway.rest.test_head_routes import picture, refusal, taught
from tests.service.gateway.serving import ANN, BOB, KEYS, form, on_ports, serving
from tests.waiting import SOON, soon, until


class Endless:
    """A solve of heads with a class `endless` goes on until it is stopped."""

    def __init__(self) -> None:
        self.begun, self.stopped = threading.Event(), threading.Event()

    def solve(self, of: Any, names: list[str], stop: Any) -> Any:
        if "endless" not in names:
            return solve(of, names, stop)
        self.begun.set()
        until(lambda: stop[0])
        self.stopped.set()
        raise StoppedError("it was stopped")


@pytest.fixture
def endless(monkeypatch: pytest.MonkeyPatch) -> Endless:
    work = Endless()
    monkeypatch.setattr(solver, "solve", work.solve)
    return work


def endless_head(name: str = "slow") -> dict[str, Any]:
    return taught("mug", name=name, classes=["mug", "endless"])


async def test_too_much_work_is_refused_before_it_is_done(
    client: httpx.AsyncClient, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(solver, "MAX_WORK", 10.0)
    monkeypatch.setattr(solver, "solve", None)

    status, kind, detail = refusal(await client.post("/v1/heads", json=taught()))

    assert (status, kind) == (422, "invalid-value")
    assert detail.startswith("pictures: expected at most 10; take fewer pictures, or look for the same classes in more")
    assert "products to solve'" in detail
    assert metrics.registry.get_sample_value("lexiseg_head_solves_total", {"result": "refused"}) == 1


@pytest.mark.parametrize("size", ["small", "large"])
async def test_another_clients_teach_does_not_wait_for_a_long_one(
    endless: Endless, size: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(solver, "SMALL_WORK", 0.0 if size == "large" else 1e9)
    async with serving(api_keys=KEYS) as client:
        slow = [client.post("/v1/heads", json=endless_head(name), headers=ANN) for name in ("one", "two", "three")]
        solving = [asyncio.ensure_future(each) for each in slow]
        await soon(endless.begun.is_set)

        quick = await client.post("/v1/heads", json=taught(), headers=BOB)

        assert quick.status_code == 201
        assert not any(each.done() for each in solving)
        for each in solving:
            each.cancel()
        await soon(endless.stopped.is_set)


async def test_a_change_that_touches_no_lesson_solves_nothing(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = await client.post("/v1/heads", json=taught())
    made, tag = answer.json(), answer.headers["etag"]
    monkeypatch.setattr(solver, "solve", None)

    changed = await client.put("/v1/heads/mugs", json={"keep_days": 5})

    assert changed.status_code == 200, changed.text
    assert changed.json()["expires"] is not None
    assert changed.headers["etag"] != tag
    assert changed.json() | {"expires": None} == made


async def test_what_is_not_solved_in_time_is_not_done_later_and_can_be_sent_again(
    endless: Endless, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(deadline_seconds=3) as client:
        late = await client.post("/v1/heads", json=endless_head())
        await soon(endless.stopped.is_set)
        listed = (await client.get("/v1/heads")).json()
        monkeypatch.setattr(solver, "solve", solve)
        use_case = client._transport.app.state.use_case  # type: ignore[attr-defined]
        use_case._settings = use_case._settings.model_copy(update={"deadline_seconds": SOON})
        again = await client.post("/v1/heads", json=endless_head())

    assert refusal(late)[:2] == (504, "deadline-exceeded")
    assert listed == {"heads": []}
    assert again.status_code == 201


def test_a_solve_ends_when_its_client_has_left(endless: Endless) -> None:
    body = json.dumps(endless_head()).encode()
    head = f"POST /v1/heads HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
    with on_ports(KnownBackend(), deadline_seconds=10 * SOON) as ports:
        with socket.create_connection(("127.0.0.1", int(ports.url.rpartition(":")[2])), SOON) as client:
            client.sendall(f"{head}Content-Type: application/json\r\n\r\n".encode() + body)
            assert endless.begun.wait(SOON)

        assert endless.stopped.wait(SOON)


def test_a_shutdown_ends_solves_with_a_sentence(endless: Endless) -> None:
    answers: list[httpx.Response] = []
    with on_ports(KnownBackend(), drain_seconds=2.5) as ports:

        def ask() -> None:
            answers.append(httpx.post(f"{ports.url}/v1/heads", json=endless_head(), timeout=SOON))

        asking = threading.Thread(target=ask)
        asking.start()
        assert endless.begun.wait(SOON)
    asking.join(SOON)

    assert refusal(answers[0])[:2] == (503, "not-ready")
    assert "going down" in answers[0].json()["detail"]


@pytest.mark.parametrize("store", ["folder", "redis"])
async def test_no_request_reads_the_head_of_another_key(
    store: str, tmp_path: Path, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: dict[str, Any] = {"state_dir": tmp_path} if store == "folder" else {"redis_url": redis_server.url}
    read: list[str] = []
    original: Callable[[str, bytes], NamedHead] = NamedHead.read

    def counted(slot: str, content: bytes) -> NamedHead:
        read.append(slot)
        return original(slot, content)

    monkeypatch.setattr(NamedHead, "read", counted)
    async with serving(api_keys=KEYS, **settings) as client:
        for number in range(3):
            await client.post("/v1/heads", json=taught(name=f"of-ann-{number}"), headers=ANN)
        await client.post("/v1/heads", json=taught(name="of-bob"), headers=BOB)
    async with serving(api_keys=KEYS, **settings) as client:  # one that knows nothing yet
        read.clear()
        await client.put("/v1/heads/of-bob", json={"pictures": [picture(5)]}, headers=BOB)
        unknown = await client.get("/v1/heads/of-boc", headers=BOB)
        asked = await client.post("/v1/segment", files=form("sky", head="of-ann-0"), headers=BOB)
        listed = await client.get("/v1/heads", headers=BOB)
        of_ann = await client.get("/v1/heads", headers=ANN)

    assert {slot.partition("~")[0] for slot in read[: read.index("ann~of-ann-0")]} == {"bob"}
    assert refusal(asked)[:2] == (404, "unknown-head")
    assert refusal(unknown)[2] == "head: there is none called 'of-boc'; is 'of-bob' meant?"
    assert [(head["name"], head["pictures"]) for head in listed.json()["heads"]] == [("of-bob", 2)]
    assert [head["name"] for head in of_ann.json()["heads"]] == ["of-ann-0", "of-ann-1", "of-ann-2"]


async def test_lessons_leave_room_in_redis_for_other_things(
    redis_server: RedisServer, inside: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside.config_set("maxmemory", "10mb")
    metrics = Metrics()
    async with serving(metrics=metrics, redis_url=redis_server.url) as client:
        made = await client.post("/v1/heads", json=taught())
        shown = metrics.registry.get_sample_value("lexiseg_head_bytes_limit")
        monkeypatch.setattr(collection, "MAX_SHARE", 1e-5)
        refused = await client.put("/v1/heads/mugs", json={"pictures": [picture(3)]})

    assert made.status_code == 201
    assert shown == 5 * 2**20
    assert refusal(refused)[2].startswith("pictures: expected at most 104 bytes of lessons; take out pictures")


@pytest.mark.parametrize("path", ["heads/many", "heads/mugs/next"])
async def test_each_picture_counts_as_a_request_and_none_beyond_the_days_is_asked(path: str) -> None:
    backend = KnownBackend(changes={"confidence": to_png(np.zeros((2, 2), np.uint8))})
    method, body = ("PUT", MANY) if path == "heads/many" else ("POST", {"images": [{"id": "1"}] * 490})
    async with serving(backend=backend, api_keys=line_of("ann", "ann", limits=["daily=10"])) as client:
        await client.put("/v1/heads/mugs", json=taught(), headers=ANN)
        refused = await client.request(method, f"/v1/{path}", json=body, headers=ANN)

    assert refusal(refused)[:2] == (429, "rate-limited")
    assert "10 requests of this client today" in refused.json()["detail"]
    assert len(backend.asked) <= 10


class Slow(KnownBackend):
    seconds = 0.0

    async def segment(self, request: WorkerRequest) -> WorkerAnswer:
        await asyncio.sleep(self.seconds)
        return await super().segment(request)

    async def teach(self, request: WorkerRequest) -> Taught:
        await asyncio.sleep(self.seconds)
        return await super().teach(request)


MANY = taught(name="many", pictures=[picture(number) for number in range(490)])


@pytest.mark.parametrize(
    ("path", "body", "field", "more"),
    [
        ("heads", MANY, "pictures", "add further ones by PUT"),
        ("heads/mugs/next", {"images": [{"id": "1"}] * 490}, "images", "order the others by another request"),
    ],
)
async def test_more_pictures_than_are_answered_in_time_are_refused_early_with_the_number_that_fits(
    path: str, body: dict[str, Any], field: str, more: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_requests, "MIN_PACED_SECONDS", 0.0)
    backend = Slow(changes={"confidence": to_png(np.zeros((2, 2), np.uint8))})
    async with serving(backend=backend, deadline_seconds=5) as client:
        await client.put("/v1/heads/mugs", json=taught())
        backend.seconds = 0.2
        status, kind, detail = refusal(await client.post(f"/v1/{path}", json=body))

    assert (status, kind) == (422, "invalid-value")
    assert detail.startswith(f"{field}: expected about ")
    assert f"in one request now, which must be answered in time; {more}, got '490 pictures'" in detail
    assert len(backend.asked) < 100
