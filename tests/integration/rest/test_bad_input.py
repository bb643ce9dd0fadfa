"""What can be wrong with a request: its status, and that the next good request is served."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx
import pytest

from tests import pictures
from tests.integration.server import form

GOOD = pictures.encoded(pictures.small("china", 64), "JPEG")
BASE64 = base64.b64encode(GOOD).decode()
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
    "text": Refused(b"not an image at all", 415, "unsupported-image"),
    "a PDF": Refused(b"%PDF-1.7\n", 415, "unsupported-image"),
    "a truncated JPEG": Refused(pictures.truncated_jpeg(), 422, "undecodable-image"),
    "a truncated PNG": Refused(pictures.encoded(pictures.small())[:500], 422, "undecodable-image"),
    "a PNG header of 50,000 x 50,000": Refused(pictures.png_of(50_000, 50_000), 413, "too-large"),
    "a PNG of 2,500 million pixels": Refused(pictures.bomb(), 413, "too-large"),
    "1 x 1": Refused(pictures.encoded(pictures.small().resize((1, 1))), 422, "invalid-value"),
    "15 x 200": Refused(pictures.encoded(pictures.small().resize((15, 200))), 422, "invalid-value"),
    "a GIF": Refused(pictures.encoded(pictures.small(), "GIF"), 415, "unsupported-image"),
    "an animated GIF": Refused(pictures.animated("GIF"), 415, "unsupported-image"),
    "an animated PNG": Refused(pictures.animated("PNG"), 415, "unsupported-image"),
    "an animated WebP": Refused(pictures.animated("WEBP"), 415, "unsupported-image"),
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


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_rotation_swaps_height_and_width(client: httpx.Client, kind: str) -> None:
    image = pictures.turned(pictures.small("china").resize((64, 48)), 6, kind)

    answer = client.post("/segment", files=form(image, "sky", background="false", max_side=64))

    assert answer.json()["size"] == answer.json()["segments"][0]["mask"]["size"] == [64, 48]


QUESTIONS: dict[str, tuple[dict[str, Any], int, str]] = {
    "no classes": ({}, 422, "invalid-value"),
    "an empty list of classes": ({"classes": []}, 422, "invalid-value"),
    "an empty class": ({"classes": [""]}, 422, "invalid-value"),
    "a blank class": ({"classes": [" "]}, 422, "invalid-value"),
    "the same class twice": ({"classes": ["sky", "Sky "]}, 422, "invalid-value"),
    "a control character": ({"classes": ["s\x00ky"]}, 422, "invalid-value"),
    "a line break": ({"classes": ["sky\nsea"]}, 422, "invalid-value"),
    "129 characters": ({"classes": ["a" * 129]}, 422, "invalid-value"),
    "2,049 classes": ({"classes": [f"word {index}" for index in range(2049)]}, 422, "invalid-value"),
    "nine synonyms": ({"classes": [{"name": "a", "synonyms": list("bcdefghij")}]}, 422, "invalid-value"),
    "a threshold of 1.5": ({"classes": ["sky"], "threshold": 1.5}, 422, "invalid-value"),
    "a threshold without background": (
        {"classes": ["sky"], "threshold": 0.5, "background": False},
        422,
        "invalid-value",
    ),
    "a class threshold without background": (
        {"classes": [{"name": "sky", "threshold": 0.5}], "background": False},
        422,
        "invalid-value",
    ),
    "an unknown field": ({"classes": ["sky"], "colour": "red"}, 422, "invalid-value"),
    "an unknown field of a class": ({"classes": [{"name": "sky", "colour": "blue"}]}, 422, "invalid-value"),
    "an unknown mask format": ({"classes": ["sky"], "mask": "bitmap"}, 422, "invalid-value"),
    "an unknown task": ({"classes": ["sky"], "task": "depth"}, 422, "invalid-value"),
    "prompts for another task": (
        {"classes": ["sky"], "task": "instance", "prompts": [{"box": [0, 0, 9, 9]}]},
        422,
        "invalid-value",
    ),
    "the task prompt without prompts": ({"classes": ["sky"], "task": "prompt"}, 422, "invalid-value"),
    "an empty prompt": ({"prompts": [{}]}, 422, "invalid-value"),
    "negative points alone": ({"prompts": [{"points": [{"x": 1, "y": 1, "positive": False}]}]}, 422, "invalid-value"),
    "a box turned round": ({"prompts": [{"box": [9, 0, 1, 9]}]}, 422, "invalid-value"),
    "a click beside the picture": ({"prompts": [{"points": [{"x": 65, "y": 1}]}]}, 422, "invalid-value"),
    "257 prompts": ({"prompts": [{"box": [0, 0, 9, 9]}] * 257}, 422, "invalid-value"),
    "33 points": ({"prompts": [{"points": [{"x": 1, "y": 1}] * 33}]}, 422, "invalid-value"),
    "a max_side of zero": ({"classes": ["sky"], "max_side": 0}, 422, "invalid-value"),
    "a max_side of 30 digits": ({"classes": ["sky"], "max_side": 10**30}, 422, "invalid-value"),
    "an unknown model": ({"classes": ["sky"], "model": "huge"}, 404, "unknown-model"),
    "an unknown version": ({"classes": ["sky"], "model": "tiny@0"}, 404, "unknown-model"),
    "a path as a model": ({"classes": ["sky"], "model": "../../secret"}, 404, "unknown-model"),
}


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_wrong_value_is_refused_in_json(client: httpx.Client, name: str) -> None:
    question, status, kind = QUESTIONS[name]
    content = json.dumps({"image": {"base64": BASE64}, **question})

    answer = client.post("/segment", content=content, headers={"content-type": "application/json"})

    check_problem(answer, status, kind)


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_wrong_value_is_refused_in_the_request_field(client: httpx.Client, name: str) -> None:
    question, status, kind = QUESTIONS[name]

    answer = client.post("/segment", files=[*form(GOOD), ("request", (None, json.dumps(question)))])

    check_problem(answer, status, kind)


# A form has no words for a class with synonyms.
FLAT = [name for name in QUESTIONS if "[{" not in repr(QUESTIONS[name])]


@pytest.mark.parametrize("name", FLAT)
def test_a_wrong_value_is_refused_in_flat_fields(client: httpx.Client, name: str) -> None:
    question, status, kind = QUESTIONS[name]
    classes = question.get("classes", [])
    fields = {key: value for key, value in question.items() if key != "classes"}

    answer = client.post("/segment", files=form(GOOD, *classes, **fields))

    check_problem(answer, status, kind)


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("no classes", "classes"),
        ("a control character", "classes.0"),
        ("nine synonyms", "classes.0.synonyms"),
        ("a class threshold without background", "classes.0.threshold"),
        ("an unknown field", "colour"),
        ("an unknown task", "task"),
        ("prompts for another task", "task"),
        ("a click beside the picture", "prompts.0.points.0.x"),
    ],
)
def test_a_wrong_value_is_named_with_what_was_expected(client: httpx.Client, name: str, field: str) -> None:
    content = json.dumps({"image": {"base64": BASE64}, **QUESTIONS[name][0]})

    answer = client.post("/segment", content=content, headers={"content-type": "application/json"})

    (error,) = answer.json()["errors"]
    assert error["field"] == field
    assert error["expected"]
    assert field in answer.json()["detail"]


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


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        pytest.param("application/json", b'{"classes": ["sky"', id="half of some JSON"),
        pytest.param("application/json", b"\x00\xff\xfe", id="bytes as JSON"),
        pytest.param("application/json", b'"sky"', id="a string as JSON"),
        pytest.param("application/json", b"[" * 20_000, id="JSON of 20,000 levels"),
        pytest.param("application/json", b'{"classes": ["\\ud800"]}', id="half a surrogate pair"),
        pytest.param("application/json", b'{"classes": ["sky"], "threshold": NaN}', id="NaN, which JSON has not"),
        pytest.param("multipart/form-data", b"--x--", id="a form without a boundary"),
        pytest.param("multipart/form-data; boundary=x", b"garbage", id="a form of garbage"),
        pytest.param("image/gif", GOOD, id="the bare image as a type that is not taken"),
        pytest.param("application/x-www-form-urlencoded", b"classes=sky", id="an urlencoded form"),
    ],
)
def test_a_body_of_another_form_is_malformed(client: httpx.Client, kind: str, content: bytes) -> None:
    answer = client.post("/segment", content=content, headers={"content-type": kind})

    check_problem(answer, 400, "malformed-request")


def test_a_form_without_an_image_is_refused(client: httpx.Client) -> None:
    answer = client.post("/segment", files=[("classes", (None, "sky"))])

    check_problem(answer, 422, "invalid-value")


def test_json_without_an_image_is_refused(client: httpx.Client) -> None:
    answer = client.post("/segment", json={"classes": ["sky"]})

    check_problem(answer, 422, "invalid-value")
    assert answer.json()["errors"][0]["field"] == "image"


def test_base64_of_something_else_is_refused(client: httpx.Client) -> None:
    answer = client.post("/segment", json={"image": {"base64": "?"}, "classes": ["sky"]})

    check_problem(answer, 422, "invalid-value")


def test_a_swarm_of_values_does_not_fill_the_memory(client: httpx.Client) -> None:
    content = f'{{"image": {{"base64": "{BASE64}"}}, "classes": [{",".join(["0"] * 5_000_000)}]}}'

    answer = client.post("/segment", content=content, headers={"content-type": "application/json"})

    check_problem(answer, 413, "too-large")


@pytest.mark.parametrize(("method", "status"), [("GET", 405), ("DELETE", 405), ("PUT", 405)])
def test_another_method_is_refused(client: httpx.Client, method: str, status: int) -> None:
    answer = client.request(method, "/segment")

    check_problem(answer, status, "method-not-allowed")


def test_an_unknown_route_is_refused(client: httpx.Client) -> None:
    check_problem(client.get("/segments"), 404, "no-such-route")
