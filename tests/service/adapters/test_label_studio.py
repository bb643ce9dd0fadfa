from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import httpx
import pytest

from tests.service.adapters.asking import DATA_URI, HEIGHT, PICTURE, SQUARE, WIDTH, adapted

URL = "/adapters/label-studio"
LABELS = '<Label value="Strawberry" predicted_values="red"/><Label value="blue"/>'
CONFIG = f"""<View>
  <Image name="image" value="$photo"/>
  <BrushLabels name="tag" toName="image">{LABELS}</BrushLabels>
  <KeyPointLabels name="click" toName="image" smart="true">{LABELS}</KeyPointLabels>
</View>"""


def asked(config: str = CONFIG, image: str = DATA_URI, **params: Any) -> dict[str, Any]:
    return {"tasks": [{"id": 3, "data": {"photo": image}}], "label_config": config, "params": params}


async def regions(client: httpx.AsyncClient, **of_request: Any) -> list[dict[str, Any]]:
    answer = await client.post(f"{URL}/predict", json=asked(**of_request))
    assert answer.status_code == 200, answer.text
    (prediction,) = answer.json()["results"]
    assert prediction["model_version"] == answer.json()["model_version"]
    found: list[dict[str, Any]] = prediction["result"]
    return found


def drawn(kind: str, label: str, **value: float) -> dict[str, Any]:
    return {
        "type": kind,
        "value": {**value, kind: [label]},
        "original_width": WIDTH,
        "original_height": HEIGHT,
        "is_positive": True,
    }


async def test_labels_are_found_by_the_words_that_they_bring(client: httpx.AsyncClient) -> None:
    found = await regions(client)

    assert [region["value"]["brushlabels"] for region in found] == [["Strawberry"], ["blue"]]
    assert {(region["from_name"], region["to_name"], region["type"]) for region in found} == {
        ("tag", "image", "brushlabels")
    }
    assert {(region["original_width"], region["original_height"]) for region in found} == {(WIDTH, HEIGHT)}


async def test_polygons_are_in_percent(client: httpx.AsyncClient) -> None:
    found = await regions(client, config=CONFIG.replace("BrushLabels", "PolygonLabels"))

    corners = {tuple(round(value, 3) for value in point) for point in found[0]["value"]["points"]}
    assert corners == {(0, 0), (33.333, 0), (33.333, 66.667), (0, 66.667)}
    assert found[0]["value"]["polygonlabels"] == ["Strawberry"]


async def test_rectangles_are_the_masks_boxes(client: httpx.AsyncClient) -> None:
    found = await regions(client, config=CONFIG.replace("BrushLabels", "RectangleLabels"))

    box = {name: round(found[1]["value"][name], 3) for name in ("x", "y", "width", "height")}
    assert box == {"x": 66.667, "y": 0, "width": 33.333, "height": 66.667}


async def test_a_click_is_one_region_of_the_label_that_was_chosen(client: httpx.AsyncClient) -> None:
    click = drawn("keypointlabels", "Strawberry", x=100 * 4 / WIDTH, y=100 * 4 / HEIGHT)

    (region,) = await regions(client, context={"result": [click]})

    assert region["value"]["brushlabels"] == ["Strawberry"]
    assert ones(region["value"]["rle"]) == SQUARE


async def test_a_smart_rectangle_is_a_box(client: httpx.AsyncClient) -> None:
    box = drawn("rectanglelabels", "blue", x=60, y=0, width=40, height=70)

    (region,) = await regions(client, context={"result": [box]})

    assert ones(region["value"]["rle"]) == SQUARE


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ("<View>", "label_config"),
        ("<View><Image name='image' value='$photo'/></View>", "label_config"),
        ("<!DOCTYPE a [<!ENTITY b 'c'>]><View/>", "label_config"),
        (CONFIG.replace("$photo", "$picture"), "tasks.0.data.picture"),
    ],
    ids=["no xml", "no labels", "entities", "another field"],
)
async def test_a_configuration_that_says_nothing_is_refused(client: httpx.AsyncClient, config: str, field: str) -> None:
    answer = await client.post(f"{URL}/predict", json=asked(config))

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)


async def test_what_label_studio_asks_first_is_answered(client: httpx.AsyncClient) -> None:
    health, setup = await client.get(f"{URL}/health"), await client.post(f"{URL}/setup", json={"project": "1"})
    event = await client.post(f"{URL}/webhook", json={"action": "ANNOTATION_CREATED"})

    assert health.json()["status"] == "UP"
    assert setup.json()["model_version"] == (await client.get(f"{URL}/versions")).json()["versions"][0]
    assert event.status_code == 201


async def test_an_upload_is_fetched_from_the_label_studio_of_the_settings() -> None:
    with label_studio() as (home, asked_for):
        async with adapted(label_studio_url=home, label_studio_api_key="its-token") as client:
            found = await regions(client, image="/data/upload/1/a.png")

    assert len(found) == 2
    assert asked_for == [("/data/upload/1/a.png", "Token its-token")]


async def test_an_upload_of_no_known_label_studio_says_what_to_set(client: httpx.AsyncClient) -> None:
    answer = await client.post(f"{URL}/predict", json=asked(image="/data/upload/1/a.png"))

    assert answer.status_code == 422
    assert "LEXISEG_LABEL_STUDIO_URL" in answer.json()["detail"]


@pytest.mark.parametrize("image", ["http://127.0.0.1:1/a.png", "//127.0.0.1:1/a.png", "/\\127.0.0.1:1/a.png"])
async def test_no_other_host_is_asked_with_the_token(image: str) -> None:
    with label_studio() as (home, asked_for):
        async with adapted(label_studio_url=home, label_studio_api_key="its-token") as client:
            answer = await client.post(f"{URL}/predict", json=asked(image=image))

    assert answer.status_code in (403, 422)
    assert asked_for == []


async def test_an_upload_over_the_limit_is_refused() -> None:
    with label_studio() as (home, _):
        async with adapted(label_studio_url=home, limits={"max_image_bytes": len(PICTURE) - 1}) as client:
            answer = await client.post(f"{URL}/predict", json=asked(image="/data/upload/1/a.png"))

    assert (answer.status_code, answer.json()["type"]) == (413, "too-large")


def ones(packed: list[int]) -> int:
    """Pixels inside a brush's bytes, read bit by bit as their description says."""
    bits = "".join(f"{byte:08b}" for byte in packed)
    at = 0

    def take(n: int) -> int:
        nonlocal at
        at += n
        return int(bits[at - n : at], 2)

    total, word = take(32), take(5) + 1
    sizes = [take(4) + 1 for _ in range(4)]
    values = inside = 0
    while values < total:
        assert take(1) == 1, "a mask is runs alone"
        length = take(sizes[take(2)]) + 1
        inside += length if take(word) else 0
        values += length
    assert values == total
    return inside // 4


@contextmanager
def label_studio() -> Iterator[tuple[str, list[tuple[str, str | None]]]]:
    """A server that has one upload: its address, and what was asked for with which token."""
    asked_for: list[tuple[str, str | None]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked_for.append((self.path, self.headers.get("Authorization")))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(PICTURE)

        def log_message(self, format: str, *args: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        serving.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked_for
        finally:
            server.shutdown()
            serving.join()
