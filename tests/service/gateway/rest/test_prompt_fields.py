import base64
import json
from typing import Any

import httpx
import pytest

from lexiseg_labels.masks.rle import text_of
from lexiseg_model.types import Point, Prompt
from lexiseg_service.errors import ImageExpired
from tests import pictures
from tests.model.stand_in import card
from tests.service.gateway.known_backend import KnownBackend
from tests.service.gateway.serving import serving

SIDEWAYS = pictures.turned(pictures.small("china").resize((64, 48)), 6, "JPEG")  # 64 high, 48 wide as shown
BASE64 = base64.b64encode(SIDEWAYS).decode()
LONG = "PP3" + "0" * 299_997  # 64 x 48 pixels outside, then runs of none
NARROW = {"size": [64, 1], "counts": text_of([0, 64])}
LARGEST = [{"points": [{"x": 1.5, "y": 2.5, "positive": True}] * 32, "box": [0, 0, 9.5, 9.5]}] * 256


async def post(client: httpx.AsyncClient, **fields: Any) -> httpx.Response:
    body = json.dumps({"image": {"base64": BASE64}} | fields)
    return await client.post("/segment", content=body, headers={"content-type": "application/json"})


async def post_form(client: httpx.AsyncClient, **fields: str) -> httpx.Response:
    files: list[Any] = [("image", ("a.jpg", SIDEWAYS)), *((name, (None, value)) for name, value in fields.items())]
    return await client.post("/segment", files=files)


@pytest.mark.parametrize("x", [48.5, 60])
async def test_coordinates_are_those_of_the_picture_as_shown(client: httpx.AsyncClient, x: float) -> None:
    inside = await post(client, prompts=[{"points": [{"x": 48, "y": 64}]}])
    beside = await post(client, prompts=[{"points": [{"x": x, "y": 5}]}])

    assert inside.status_code == 200, inside.text
    assert beside.status_code == 422
    assert beside.json()["errors"][0]["field"] == "prompts.0.points.0.x"


@pytest.mark.parametrize(
    ("prompts", "field"),
    [
        pytest.param([{"point": {"x": 1, "y": 1}}], "prompts.0.point", id="unknown field"),
        pytest.param([{"points": [{"x": 1}]}], "prompts.0.points.0.y", id="half a point"),
        pytest.param([{"points": [{"x": "1", "y": 1}]}], "prompts.0.points.0.x", id="text as a coordinate"),
        pytest.param([{"points": [{"x": 1, "y": 1, "positive": "no"}]}], "prompts.0.points.0.positive", id="no"),
        pytest.param([{"box": [0, 0, 9, 9]}, {"box": [0, 0, 9]}], "prompts.1.box", id="three sides"),
        pytest.param([{"box": [0, 0, 9, 9, 9]}], "prompts.0.box", id="five sides"),
        pytest.param([{"segment": 1}], "prompts.0.segment", id="a segment of no classes"),
        pytest.param([{"mask": {"size": [64, 48], "counts": "zz"}}], "prompts.0.mask.counts", id="no run lengths"),
        pytest.param([{"mask": NARROW}], "prompts.0.mask.size", id="a mask of another size"),
        pytest.param([{"mask": NARROW, "segment": 1}], "prompts.0", id="a mask and a segment"),
    ],
)
async def test_a_wrong_prompt_is_named(client: httpx.AsyncClient, prompts: Any, field: str) -> None:
    answer = await post(client, prompts=prompts)

    assert (answer.status_code, answer.json()["type"]) == (422, "invalid-value")
    assert [error["field"] for error in answer.json()["errors"]] == [field]


@pytest.mark.parametrize("text", ["120,80", "[{]"])
async def test_flat_prompts_that_are_no_json_are_told_what_json_is_expected(
    client: httpx.AsyncClient, text: str
) -> None:
    answer = await post_form(client, prompts=text)

    assert (answer.status_code, answer.json()["type"]) == (422, "invalid-value")
    expected = 'a JSON list, as [{"points": [{"x": 120, "y": 80}]}]'
    assert answer.json()["errors"] == [{"field": "prompts", "value": text, "expected": expected}]


@pytest.mark.parametrize("indent", [None, 4])
async def test_the_largest_question_is_taken_in_every_form(
    client: httpx.AsyncClient, backend: KnownBackend, indent: int | None
) -> None:
    words = [[f"{at} {number}, a" for number in range(9)] for at in range(2048)]
    classes = [{"name": name, "synonyms": synonyms, "threshold": 0.5} for name, *synonyms in words]
    question = {"prompts": LARGEST, "classes": classes}

    answers = [
        await post(client, **question),
        await post_form(client, request=json.dumps(question, indent=indent)),
        await post_form(client, prompts=json.dumps(LARGEST, indent=indent)),
    ]

    assert [answer.status_code for answer in answers] == [200] * 3, [answer.text[:200] for answer in answers]
    assert [len(asked.prompts) for asked in backend.asked] == [256] * 3


async def test_prompts_by_an_image_s_id_go_to_the_worker_unseen(
    client: httpx.AsyncClient, backend: KnownBackend
) -> None:
    answer = await post(client, image={"id": "0" * 32}, prompts=[{"points": [{"x": 5000, "y": 40}]}])

    assert answer.status_code == 200
    assert backend.asked[0].prompts == (Prompt((Point(5000, 40),)),)


@pytest.mark.parametrize(
    "question",
    [{"prompts": [{"box": [0, 0, 9, 9]}]}, {"classes": ["sky"], "task": "panoptic"}],
    ids=["prompt", "panoptic"],
)
async def test_a_model_that_lacks_the_task_names_those_that_have_it(question: dict[str, Any]) -> None:
    models = [card(), card(name="clicks", tasks=("prompt", "panoptic"))]
    async with serving(backend=KnownBackend(models=models)) as client:
        refused = await post(client, **question)
        taken = await post(client, **question, model="clicks")

    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "task")
    assert "clicks" in refused.json()["detail"]
    assert taken.status_code == 200, taken.text


async def test_the_masks_of_a_request_have_so_many_run_lengths_in_all(client: httpx.AsyncClient) -> None:
    masks = [{"mask": {"size": [64, 48], "counts": LONG}}] * 4
    of_examples = [{"name": name, "examples": masks} for name in ("red", "sky")]

    answers = [await post(client, prompts=masks * 2), await post(client, classes=of_examples)]

    errors = [answer.json()["errors"] for answer in answers]
    assert [(error["field"], error["value"]) for (error,) in errors] == [
        (field, "2,400,000 characters of run lengths") for field in ("prompts", "classes")
    ]


PLACE = "classes.0.examples.0"
SMALL = {"box": [0, 0, 9, 9]}


@pytest.mark.parametrize(
    ("fields", "status", "field"),
    [
        ({"examples": [{}]}, 422, PLACE),
        ({"examples": [{"box": [9, 9, 1, 1]}]}, 422, f"{PLACE}.box"),
        ({"examples": [SMALL | {"image": {}}]}, 422, f"{PLACE}.image"),
        ({"examples": [SMALL | {"image": {"base64": "!"}}]}, 422, f"{PLACE}.image.base64"),
        ({"negatives": [SMALL]}, 422, "classes.0.negatives"),
        ({"examples": [SMALL], "words": False, "synonyms": ["b"]}, 422, "classes.0.words"),
        ({"examples": [SMALL] * 65}, 422, "classes.0.examples"),
        ({"examples": [SMALL | {"image": {"url": "https://example.org/a.jpg"}}]}, 403, None),
    ],
)
async def test_what_is_wrong_with_an_example_names_its_field(
    client: httpx.AsyncClient, fields: dict[str, Any], status: int, field: str | None
) -> None:
    answer = await post(client, classes=[{"name": "a", **fields}])

    found = [error["field"] for error in answer.json().get("errors", ())]
    assert (answer.status_code, found) == (status, [field] if field else [])


@pytest.mark.parametrize(
    ("image", "status", "field"),
    [({"base64": "R0lG"}, 415, "image"), ({"id": ""}, 404, "image.id")],
    ids=["no image", "expired"],
)
async def test_the_image_of_an_example_is_named_by_its_field(
    backend: KnownBackend, client: httpx.AsyncClient, image: dict[str, str], status: int, field: str
) -> None:
    backend.failure = ImageExpired("image.id: nothing is kept of ''; send the image again")
    shown = {"image": image, "box": [0, 0, 9, 9]}

    answer = await post(client, classes=["sky", {"name": "red", "examples": [shown]}])

    assert answer.status_code == status
    assert answer.json()["detail"].startswith(f"classes.1.examples.0.{field}: ")
