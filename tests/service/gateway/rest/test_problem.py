from typing import Any

import httpx
import pytest

from lexiseg_model.errors import OptionError
from lexiseg_service import errors
from tests import pictures
from tests.service.gateway.known_backend import KnownBackend

IMAGE = pictures.encoded(pictures.small())
FILES: list[Any] = [("classes", (None, "sky")), ("image", ("a.png", IMAGE))]


async def test_a_problem_has_the_fields_of_the_standard(client: httpx.AsyncClient) -> None:
    answer = await client.post("/segment", files=FILES[1:], headers={"x-request-id": "mine-1"})

    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == answer.status_code == 422
    assert problem["type"] == "invalid-value"
    assert problem["title"] == errors.InvalidValue.title
    assert problem["detail"].startswith("classes: ")
    assert problem["request_id"] == answer.headers["x-request-id"] == "mine-1"


@pytest.mark.parametrize("failure", [RuntimeError("secret"), OptionError("secret"), MemoryError("secret")])
async def test_an_unexpected_error_is_reported_without_details(
    client: httpx.AsyncClient, backend: KnownBackend, failure: Exception
) -> None:
    backend.failure = failure

    answer = await client.post("/segment", files=FILES)

    assert (answer.status_code, answer.json()["type"]) == (500, "internal-error")
    assert "secret" not in answer.text


@pytest.mark.parametrize("given", ["two words", "x" * 65, "<script>", ""])
async def test_a_harmful_request_id_is_replaced(client: httpx.AsyncClient, given: str) -> None:
    answer = await client.get("/livez", headers={"x-request-id": given})

    assert answer.headers["x-request-id"] not in ("", given)


async def test_no_answer_lets_a_browser_guess_its_type(client: httpx.AsyncClient) -> None:
    answers = [await client.get(path) for path in ("/", "/models", "/nowhere", "/docs/assets/docs.js")]

    assert {answer.headers["x-content-type-options"] for answer in answers} == {"nosniff"}
