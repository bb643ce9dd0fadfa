"""Answers as JSON, and as one PNG."""

import base64
import json
from dataclasses import fields, replace

import httpx
import pytest
from pydantic import TypeAdapter

from lexiseg_labels.answers import AnswerWarning
from lexiseg_model.types import Ring
from lexiseg_service.gateway.rest.routes import wants_png
from lexiseg_service.question.messages import RenderedMap, render_json
from lexiseg_service.question.schemas import SegmentAnswer, SegmentOutput
from tests import pictures
from tests.service.gateway.known_backend import KnownBackend, answer

JPEG = pictures.encoded(pictures.small(), "JPEG")
PICTURE = pictures.encoded(pictures.small("china", 32))


def test_an_answer_has_every_field_of_its_schema_and_no_other() -> None:
    rendered = render_json(answer(), "id-1")

    read, content = TypeAdapter(SegmentAnswer).validate_json(rendered, strict=False), json.loads(rendered)
    assert (read.id, read.size, read.segments[0].area, read.segments[0].bbox) == ("id-1", (4, 4), 8, (0, 0, 2, 4))
    assert set(content) == {field.name for field in fields(SegmentAnswer)} - {"confidence"}  # only if requested
    assert set(content["segments"][0]) == {field.name for field in fields(SegmentOutput)}
    assert content["segments"][0]["mask"] == {"format": "coco_rle", "size": [4, 4], "counts": "088"}
    assert (content["segments"][0]["score"], content["timings_ms"]["decode"]) == (0.9123, 1.23)


def test_overlay_absent_labels_and_warnings_are_included() -> None:
    unfamiliar = AnswerWarning("unfamiliar-word", "a guess", "classes.1")
    without_masks = replace(answer(overlay=b"\x89PNG"), absent=("boat",), warnings=(unfamiliar,), mask="none")

    rendered = json.loads(render_json(without_masks, "id-1"))

    (segment,) = rendered["segments"]
    assert (segment["mask"], segment["area"], segment["bbox"]) == (None, 8, [0, 0, 2, 4])
    assert base64.b64decode(rendered["overlay"]) == b"\x89PNG"
    assert rendered["absent"] == ["boat"]
    assert rendered["warnings"] == [{"type": "unfamiliar-word", "detail": "a guess", "field": "classes.1"}]


def test_the_size_of_an_answer_is_estimated() -> None:
    rings = (Ring(list(range(1000, 3000)), [list(range(1000, 2000))]),)
    (segment, *_) = answer().segments
    drawn = replace(answer(), mask="polygon", segments=(replace(segment, rings=rings),))

    assert drawn.nbytes == pytest.approx(len(render_json(drawn, "id-1")), rel=0.1)


async def post(client: httpx.AsyncClient, query: str, kind: str = "image/jpeg", **headers: str) -> httpx.Response:
    return await client.post(f"/segment?{query}", content=JPEG, headers={"content-type": kind, **headers})


@pytest.mark.parametrize("kind", ["image/jpeg", "IMAGE/PNG; x=y", "application/octet-stream"])
async def test_a_file_may_be_the_body_with_the_question_in_the_query(
    client: httpx.AsyncClient, backend: KnownBackend, kind: str
) -> None:
    response = await post(client, "classes=sky&classes=tall%20tree&threshold=0.25&background=true", kind)

    assert response.status_code == 200, response.text
    request = backend.asked[0]
    assert [entry.name for entry in request.vocabulary.classes] == ["sky", "tall tree"]
    assert (request.image, request.threshold) == (JPEG, 0.25)


async def test_a_query_has_the_rules_of_a_form(client: httpx.AsyncClient) -> None:
    refused = {"classes=sky&colour=red": "colour", "classes=a,b": "classes.0", "classes=sky&image=x": "image"}
    for query, field in refused.items():
        response = await post(client, query)

        assert (response.status_code, response.json()["errors"][0]["field"]) == (422, field)


async def test_a_client_that_accepts_png_gets_the_label_map(client: httpx.AsyncClient, backend: KnownBackend) -> None:
    backend.changes = {"label_map": RenderedMap(PICTURE, 8), "mask": "png"}

    response = await post(client, "classes=sky", accept="image/png")

    assert response.status_code == 200, response.text
    assert (response.headers["content-type"], response.content) == ("image/png", PICTURE)
    assert backend.asked[0].mask == "png"
    assert json.loads(response.headers["x-segments"])[0][:2] == [1, "sky"]
    assert response.headers["x-image-id"]


async def test_with_overlay_it_gets_the_overlay(client: httpx.AsyncClient, backend: KnownBackend) -> None:
    backend.changes = {"overlay": PICTURE}

    response = await post(client, "classes=sky&overlay=true", accept="image/png, */*;q=0.1")

    assert response.content == PICTURE
    assert (backend.asked[0].mask, backend.asked[0].overlay) == ("none", True)


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", False), ("*/*", False), ("image/png", True), ("image/png;q=0.5, application/json", False),
        ("application/json;q=0.5, image/png", True), ("image/avif,image/png,image/*;q=0.8,*/*;q=0.5", True),
        ("image/png;q=x", False),
    ],
)  # fmt: skip
def test_the_preferred_media_type_decides(accept: str, expected: bool) -> None:
    assert wants_png(accept) is expected
