from typing import Any

import httpx
import pytest

from tests.service.adapters.asking import DATA_URI, HEIGHT, PICTURE, SQUARE, WIDTH

URL = "/adapters/ultralytics/predict"
FILE = {"file": ("a.png", PICTURE)}
BLUE_BOX = {"x1": 32, "y1": 0, "x2": 48, "y2": 16}


async def results(client: httpx.AsyncClient, url: str = URL, **sent: Any) -> list[dict[str, Any]]:
    """Of the one image."""
    answer = await client.post(url, **sent)
    assert answer.status_code == 200, answer.text
    (image,) = answer.json()["images"]
    assert image["shape"] == [HEIGHT, WIDTH]
    assert set(image["speed"]) == {"preprocess", "inference", "postprocess"}
    found: list[dict[str, Any]] = image["results"]
    return found


async def test_a_result_has_class_box_and_outline_in_pixels(client: httpx.AsyncClient) -> None:
    blue, red = await results(client, files=FILE, data={"classes": ["blue", "red"], "conf": 0.2, "imgsz": 640})

    corners = set(zip(blue["segments"]["x"], blue["segments"]["y"], strict=True))
    assert (blue["name"], blue["class"], red["name"], red["class"]) == ("blue", 0, "red", 1)
    assert (blue["box"], corners) == (BLUE_BOX, {(32, 0), (32, 16), (48, 0), (48, 16)})
    assert 0.2 <= blue["confidence"] <= 1


@pytest.mark.parametrize(
    ("url", "sent"),
    [
        (f"{URL}?classes=blue", {"files": FILE}),
        ("/adapters/ultralytics/api/models/colours/predict", {"files": FILE, "data": {"classes": "blue"}}),
        (URL, {"files": FILE, "data": {"classes": "blue", "model": "colours"}}),
        (f"{URL}?classes=blue", {"files": {"source": (None, DATA_URI)}}),
    ],
    ids=["words in the address", "a model in the path", "a model in the form", "a source"],
)
async def test_words_model_and_image_come_in_each_of_their_places(
    client: httpx.AsyncClient, url: str, sent: dict[str, Any]
) -> None:
    (blue,) = await results(client, url, **sent)

    assert (blue["name"], blue["box"]) == ("blue", BLUE_BOX)


async def test_normalized_coordinates_are_parts_of_the_image(client: httpx.AsyncClient) -> None:
    data = {"classes": "blue", "normalize": "true", "decimals": 2}

    (blue,) = await results(client, files=FILE, data=data)

    assert blue["box"] == {"x1": 0.67, "y1": 0, "x2": 1, "y2": 0.67}
    assert max(blue["segments"]["x"]) == 1


async def test_no_result_is_less_sure_than_asked(client: httpx.AsyncClient) -> None:
    assert await results(client, files=FILE, data={"classes": ["blue", "red"], "conf": 1}) == []


async def test_the_semantic_task_says_each_classs_part_of_the_pixels(client: httpx.AsyncClient) -> None:
    (blue,) = await results(client, f"{URL}?task=semantic", files=FILE, data={"classes": "blue"})

    assert blue == {"name": "blue", "class": 0, "pixel_ratio": round(SQUARE / (HEIGHT * WIDTH), 5)}


@pytest.mark.parametrize(
    ("sent", "status", "field"),
    [
        ({"files": FILE}, 422, "classes"),
        ({"files": FILE, "data": {"classes": "blue,red"}}, 422, "classes"),
        ({"files": FILE, "data": {"classes": "blue", "conf": 2}}, 422, "conf"),
        ({"files": FILE, "data": {"classes": "blue", "source": DATA_URI}}, 422, "file"),
        ({"files": {"classes": (None, "blue")}}, 422, "file"),
        ({"files": {"classes": (None, "blue"), "source": (None, "%")}}, 422, "source"),
        ({"files": FILE, "data": {"classes": "blue", "model": "yolo11n-seg.pt"}}, 404, "yolo11n-seg.pt"),
        ({"json": {"source": DATA_URI, "classes": ["blue"]}}, 400, "multipart"),
    ],
    ids=["no word", "words in one", "no share", "two images", "none", "no base64", "no such model", "no form"],
)
async def test_what_cannot_be_answered_is_refused_by_name(
    client: httpx.AsyncClient, sent: dict[str, Any], status: int, field: str
) -> None:
    answer = await client.post(URL, **sent)

    assert (answer.status_code, field in answer.text) == (status, True), answer.text
