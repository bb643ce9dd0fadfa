from typing import Any

import httpx
import pytest

from tests.service.adapters.asking import DATA_URI
from tests.service.gateway.known_backend import KnownBackend
from tests.service.gateway.rest.test_head_routes import taught
from tests.service.gateway.serving import on_ports

URL = "/adapters/x-anylabeling"


async def shapes(client: httpx.AsyncClient, **params: Any) -> list[dict[str, Any]]:
    answer = await client.post(f"{URL}/v1/predict", json={"model": "colours", "image": DATA_URI, "params": params})
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["data"]["shapes"]
    return found


async def test_models_come_with_the_controls_that_the_tool_shows(client: httpx.AsyncClient) -> None:
    models = (await client.get(f"{URL}/v1/models")).json()["data"]

    widgets = {widget["name"] for widget in models["colours"]["widgets"]}
    assert {"edit_text", "button_send", "button_add_point", "button_add_rect"} <= widgets


async def test_heads_are_models_that_ask_for_their_classes() -> None:
    backend = KnownBackend()
    with on_ports(backend, adapters=("x-anylabeling",)) as ports:
        async with httpx.AsyncClient(base_url=ports.url, timeout=60) as client:
            await client.post("/v1/heads", json=taught())
            models = (await client.get(f"{URL}/v1/models")).json()["data"]
            await client.post(f"{URL}/v1/predict", json={"model": "head:mugs", "image": DATA_URI, "params": {}})

    assert [*models] == ["colours", "head:mugs"]
    assert next(widget["name"] for widget in models["head:mugs"]["widgets"]) == "button_run"
    assert [(entry.name, entry.is_taught) for entry in backend.asked[-1].vocabulary.classes] == [
        ("mug", True),
        ("saucer", False),
    ]


@pytest.mark.parametrize("text", ["red, blue", "red. blue.", "red.blue"])
async def test_words_stand_between_commas_or_full_stops(client: httpx.AsyncClient, text: str) -> None:
    assert [shape["label"] for shape in await shapes(client, text_prompt=text)] == ["red", "blue"]


@pytest.mark.parametrize(
    ("params", "left"),
    [
        ({"text_prompt": "red"}, 0),
        ({"marks": [{"type": "point", "data": [40, 4], "label": 1}]}, 32),
        ({"marks": [{"type": "rectangle", "data": [0, 0, 18, 18], "label": 1}]}, 0),
    ],
    ids=["a word", "a click", "a rectangle"],
)
async def test_a_question_is_answered_with_a_closed_polygon(
    client: httpx.AsyncClient, params: dict[str, Any], left: int
) -> None:
    (shape,) = await shapes(client, **params)

    assert (shape["shape_type"], shape["points"][0]) == ("polygon", shape["points"][-1])
    assert {tuple(point) for point in shape["points"]} == {(left + x, y) for x in (0, 16) for y in (0, 16)}


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({}, "params.text_prompt: expected words, or `marks`"),
        ({"params": {"text_prompt": "a." * 2**16 + "a"}}, "params.text_prompt"),
        ({"params": {"text_prompt": "red"}, "model": "sam9"}, "sam9"),
        ({"params": {"text_prompt": "red"}, "image": "AAA"}, "image: expected"),
    ],
)
async def test_a_refusal_is_the_images_description_and_leaves_its_shapes(
    client: httpx.AsyncClient, body: dict[str, Any], reason: str
) -> None:
    answer = await client.post(f"{URL}/v1/predict", json={"model": "colours", "image": DATA_URI, **body})

    # What the tool reads; of another status it shows nothing and takes no shapes for the answer.
    assert answer.status_code == 200
    assert (answer.json()["success"], answer.json()["data"]["shapes"]) == (False, [])
    assert answer.json()["data"]["replace"] is False
    assert reason in answer.json()["data"]["description"]


async def test_shapes_of_an_unknown_word_say_that_they_are_a_guess(client: httpx.AsyncClient) -> None:
    found = await shapes(client, text_prompt="crimson, blue")

    assert {shape["label"]: "is a guess" in (shape["description"] or "") for shape in found} == {
        "crimson": True,
        "blue": False,
    }


@pytest.mark.parametrize(
    ("word", "reason", "replace"),
    [
        ("xylem", "'xylem' is far from every word that colours was trained on", False),  # the image's shapes stay
        ("green", "Not found: green.", None),
    ],
)
async def test_a_word_without_a_shape_is_the_images_description(
    client: httpx.AsyncClient, word: str, reason: str, replace: bool | None
) -> None:
    body = {"model": "colours", "image": DATA_URI, "params": {"text_prompt": word}}
    data = (await client.post(f"{URL}/v1/predict", json=body)).json()["data"]

    assert (data["shapes"], data.get("replace")) == ([], replace)
    assert reason in data["description"]
