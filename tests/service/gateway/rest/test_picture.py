"""The file as the body, and a picture as the answer."""

from __future__ import annotations

import json

import httpx
import pytest

from lexiseg_service.gateway.rest.picture import wants_picture
from lexiseg_service.question.messages import RenderedMap
from tests import pictures
from tests.service.gateway.known_backend import KnownBackend

JPEG = pictures.encoded(pictures.small(), "JPEG")
PICTURE = pictures.encoded(pictures.small("china", 32))


async def post(client: httpx.AsyncClient, query: str, kind: str = "image/jpeg", **headers: str) -> httpx.Response:
    return await client.post(f"/segment?{query}", content=JPEG, headers={"content-type": kind, **headers})


@pytest.mark.parametrize("kind", ["image/jpeg", "image/heic", "IMAGE/PNG; x=y", "application/octet-stream"])
async def test_a_file_may_be_the_body_and_the_question_the_query(
    client: httpx.AsyncClient, backend: KnownBackend, kind: str
) -> None:
    answer = await post(client, "classes=sky&classes=tall%20tree&threshold=0.25&background=true", kind)

    assert answer.status_code == 200, answer.text
    asked = backend.asked[0]
    assert [entry.name for entry in asked.vocabulary.classes] == ["sky", "tall tree"]
    assert (asked.image, asked.threshold) == (JPEG, 0.25)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("classes=sky&colour=red", "colour"),
        ("classes=a,b", "classes.0"),
        ("classes=sky&image=x", "image"),
        ("", "classes"),
    ],
)
async def test_a_query_is_read_by_the_rules_of_a_form(client: httpx.AsyncClient, query: str, field: str) -> None:
    answer = await post(client, query)

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == field


async def test_another_kind_of_body_is_told_what_is_taken(client: httpx.AsyncClient) -> None:
    answer = await post(client, "classes=sky", "text/plain")

    assert (answer.status_code, answer.json()["type"]) == (400, "malformed-request")
    assert "image/jpeg" in answer.json()["detail"]


async def test_whoever_accepts_png_gets_the_label_map(client: httpx.AsyncClient, backend: KnownBackend) -> None:
    backend.changes = {"label_map": RenderedMap(PICTURE, 8), "mask": "png"}

    answer = await post(client, "classes=sky", accept="image/png")

    assert answer.status_code == 200, answer.text
    assert (answer.headers["content-type"], answer.content) == ("image/png", PICTURE)
    assert backend.asked[0].mask == "png"
    assert json.loads(answer.headers["x-segments"])[0][:2] == [1, "sky"]
    assert answer.headers["x-image-id"]
    assert answer.headers["x-request-id"]


async def test_with_overlay_he_gets_that(client: httpx.AsyncClient, backend: KnownBackend) -> None:
    backend.changes = {"overlay": PICTURE}

    answer = await post(client, "classes=sky&overlay=true", accept="image/png, */*;q=0.1")

    assert answer.content == PICTURE
    assert (backend.asked[0].mask, backend.asked[0].overlay) == ("none", True)


async def test_an_error_stays_a_problem(client: httpx.AsyncClient) -> None:
    answer = await post(client, "classes=", accept="image/png")

    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        ("", False),
        ("*/*", False),
        ("image/png", True),
        ("image/png;q=0.5, application/json", False),
        ("application/json;q=0.5, image/png", True),
        ("image/avif,image/png,image/*;q=0.8,*/*;q=0.5", True),
        ("image/png;q=0", False),
        ("image/png;q=x", False),
    ],
)
def test_a_client_gets_what_it_would_rather_have(accept: str, wanted: bool) -> None:
    assert wants_picture(accept) is wanted
