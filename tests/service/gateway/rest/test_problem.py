from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from lexiseg_model.errors import OptionError
from lexiseg_service import errors
from lexiseg_service.watch.metrics import Metrics
from tests import pictures
from tests.service.gateway.known_backend import KnownBackend

IMAGE = pictures.encoded(pictures.small())
FILES: list[Any] = [("classes", (None, "sky")), ("image", ("a.png", IMAGE))]


def every_error() -> list[type[errors.ServiceError]]:
    """Those that a client of the service can see; the command line has some of its own."""
    return [kind for kind in errors.ServiceError.__subclasses__() if kind.__module__ == errors.__name__]


def test_every_error_has_its_own_type() -> None:
    kinds = [error.type for error in every_error()]

    assert len(kinds) == len(set(kinds)) > 8


def test_the_drawn_tree_is_the_real_one() -> None:
    drawn = {line.split()[1]: tuple(line.split()[2:4]) for line in (errors.__doc__ or "").splitlines() if "+-" in line}

    assert drawn == {
        error.__name__: (str(error.status), error.type)
        for error in every_error()
        if error.__module__ == errors.__name__
    }


async def test_a_problem_has_the_fields_of_the_standard(client: httpx.AsyncClient) -> None:
    answer = await client.post("/segment", files=FILES[1:], headers={"x-request-id": "mine-1"})

    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == answer.status_code == 422
    assert problem["type"] == "invalid-value"
    assert problem["title"] == errors.InvalidValue.title
    assert problem["detail"].startswith("classes: ")
    assert problem["request_id"] == answer.headers["x-request-id"] == "mine-1"


async def test_a_full_queue_says_when_to_come_again(client: httpx.AsyncClient, backend: KnownBackend) -> None:
    backend.failure = errors.QueueFull("full", 7)

    answer = await client.post("/segment", files=FILES)

    assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")


async def test_a_service_that_is_not_ready_says_when_to_come_again(
    client: httpx.AsyncClient, backend: KnownBackend
) -> None:
    backend.failure = errors.NotReady("loading")

    answer = await client.post("/segment", files=FILES)

    assert (answer.status_code, answer.json()["type"], answer.headers["retry-after"]) == (503, "not-ready", "1")


@pytest.mark.parametrize("failure", [RuntimeError("secret"), OptionError("secret"), MemoryError("secret")])
async def test_nobody_sees_the_words_of_a_surprise(
    client: httpx.AsyncClient, backend: KnownBackend, failure: Exception
) -> None:
    backend.failure = failure

    answer = await client.post("/segment", files=FILES)

    assert (answer.status_code, answer.json()["type"]) == (500, "internal-error")
    assert "secret" not in answer.text


async def test_a_surprise_has_the_request_id(client: httpx.AsyncClient, backend: KnownBackend) -> None:
    backend.failure = RuntimeError("boom")

    answer = await client.post("/segment", files=FILES, headers={"x-request-id": "mine-2"})

    assert answer.headers["x-request-id"] == answer.json()["request_id"] == "mine-2"


async def test_a_surprise_counts_as_500(client: httpx.AsyncClient, backend: KnownBackend, metrics: Metrics) -> None:
    backend.failure = RuntimeError("boom")

    await client.post("/segment", files=FILES)

    labels = {"route": "/segment", "method": "POST", "code": "500"}
    assert metrics.registry.get_sample_value("lexiseg_requests_total", labels) == 1


@pytest.mark.parametrize(
    ("method", "path", "status", "kind", "said"),
    [
        ("GET", "/nope", 404, "no-such-route", "there is no '/nope' here; /docs shows every route"),
        ("GET", "/segment", 405, "method-not-allowed", "/segment takes POST, not GET"),
    ],
)
async def test_a_wrong_route_is_a_problem_too(
    client: httpx.AsyncClient, method: str, path: str, status: int, kind: str, said: str
) -> None:
    answer = await client.request(method, path)

    assert (answer.status_code, answer.json()["type"], answer.json()["detail"]) == (status, kind, said)
    assert answer.headers["content-type"] == "application/problem+json"


async def test_an_unknown_model_names_those_that_are_there(client: httpx.AsyncClient) -> None:
    answer = await client.post("/segment", files=[*FILES, ("model", (None, "sam"))])

    assert (answer.status_code, answer.json()["type"]) == (404, "unknown-model")
    assert "colours@1" in answer.json()["detail"]


async def test_a_task_that_the_model_lacks_names_those_it_has(client: httpx.AsyncClient) -> None:
    answer = await client.post("/segment", files=[*FILES, ("task", (None, "instance"))])

    assert answer.status_code == 422
    assert "semantic" in answer.json()["detail"]


@pytest.mark.parametrize("given", ["two words", "x" * 65, "<script>", ""])
async def test_a_request_id_that_could_do_harm_is_replaced(client: httpx.AsyncClient, given: str) -> None:
    answer = await client.get("/livez", headers={"x-request-id": given})

    assert answer.headers["x-request-id"] not in ("", given)


async def test_what_a_client_sent_comes_back_shortened(client: httpx.AsyncClient) -> None:
    content = json.dumps({"image": {"base64": "AAAA"}, "classes": ["a"], "mask": "x" * 10_000})

    answer = await client.post("/segment", content=content, headers={"content-type": "application/json"})

    assert len(answer.content) < 1_000
