"""Images and bodies that a real server refuses or takes, and the next good request is served."""

from collections.abc import Iterator
from typing import NamedTuple

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


def check_problem(answer: httpx.Response, status: int, kind: str) -> None:
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    problem = answer.json()
    assert (problem["status"], problem["type"]) == (status, kind)
    assert problem["title"]
    assert problem["detail"]
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert "Traceback" not in answer.text


class Refused(NamedTuple):
    """An image, and how it is refused."""

    image: bytes
    status: int
    kind: str


IMAGES = {
    "nothing": Refused(b"", 422, "undecodable-image"),
    "a PDF": Refused(b"%PDF-1.7\n", 415, "unsupported-image"),
    "a truncated JPEG": Refused(pictures.truncated_jpeg(), 422, "undecodable-image"),
    "a PNG of 2,500 million pixels": Refused(pictures.bomb(), 413, "too-large"),
    "a TIFF of two pages": Refused(pictures.animated("TIFF"), 415, "unsupported-image"),
    "21 MB": Refused(GOOD + bytes(21 * 2**20), 413, "too-large"),
}


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_that_cannot_be_taken_is_refused(client: httpx.Client, name: str) -> None:
    image, status, kind = IMAGES[name]

    answer = client.post("/segment", files=form(image, "sky"))

    check_problem(answer, status, kind)
    assert answer.json()["detail"].startswith("image: ")


TAKEN = {
    "CMYK": pictures.encoded(pictures.small("china", 64).convert("CMYK"), "JPEG"),
    "16 bits": pictures.encoded(pictures.sixteen_bit()),
    "a palette": pictures.encoded(pictures.small("china", 64).convert("P")),
    "alpha": pictures.encoded(pictures.small("china", 64).convert("RGBA")),
    "gray": pictures.encoded(pictures.small("china", 64).convert("L"), "JPEG"),
    "one bit": pictures.encoded(pictures.small("china", 64).convert("1")),
    "WebP": pictures.encoded(pictures.small("china", 64), "WEBP"),
    "AVIF": pictures.encoded(pictures.small("china", 64), "AVIF"),
    "HEIC": pictures.heic(pictures.small("china", 64)),
    "BMP": pictures.encoded(pictures.small("china", 64), "BMP"),
    "TIFF": pictures.encoded(pictures.small("china", 64), "TIFF"),
    "16 x 4,000": pictures.encoded(pictures.small("china").resize((16, 4000))),
}


@pytest.mark.parametrize("name", TAKEN)
def test_an_unusual_image_is_taken(client: httpx.Client, name: str) -> None:
    answer = client.post("/segment", files=form(TAKEN[name], "sky", background="false", max_side=64))

    assert answer.status_code == 200, answer.text
    height, width = answer.json()["size"]
    assert answer.json()["segments"][0]["area"] == height * width


def test_a_body_of_30_megabytes_is_refused(client: httpx.Client) -> None:
    answer = client.post("/segment", files=form(GOOD + bytes(BODY_OVER_THE_LIMIT), "sky"))

    check_problem(answer, 413, "too-large")


def test_a_chunked_body_of_30_megabytes_is_refused(client: httpx.Client) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(BODY_OVER_THE_LIMIT // 10**5):
            yield bytes(10**5)

    answer = client.post("/segment", content=chunks(), headers={"content-type": "application/json"})

    assert "content-length" not in answer.request.headers
    check_problem(answer, 413, "too-large")
