"""Images and bodies that a real server refuses or takes, and the next good request is served."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests import pictures
from tests.integration.server import form

GOOD = pictures.encoded(pictures.small("china", 64), "JPEG")
BODY_OVER_THE_LIMIT = 30 * 10**6


@pytest.fixture(autouse=True)
def _the_next_good_request_is_served(client: httpx.Client) -> Iterator[None]:
    yield
    answer = client.post("/segment", files=form(GOOD, "sky", max_side=64))
    assert answer.status_code == 200, answer.text


def chunks() -> Iterator[bytes]:
    for _ in range(BODY_OVER_THE_LIMIT // 10**5):
        yield bytes(10**5)


@pytest.mark.parametrize(
    "body",
    [{"files": form(GOOD + bytes(BODY_OVER_THE_LIMIT), "sky")}, {"content": chunks()}],
    ids=["announced", "in chunks"],
)
def test_a_body_of_30_megabytes_is_refused(client: httpx.Client, body: dict[str, Any]) -> None:
    answer = client.post("/segment", headers={} if "files" in body else {"content-type": "application/json"}, **body)

    assert ("content-length" in answer.request.headers) is ("files" in body)
    assert (answer.status_code, answer.json()["type"]) == (413, "too-large")
