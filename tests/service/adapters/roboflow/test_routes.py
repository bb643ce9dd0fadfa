from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from tests import coco
from tests.service.adapters.asking import IN_TEXT, SQUARE, adapted

URL = "/adapters/roboflow/sam3/concept_segment"


def body(*prompts: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"image": {"type": "base64", "value": IN_TEXT}, "prompts": list(prompts), **fields}


def word(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


async def test_each_prompt_has_its_result(client: httpx.AsyncClient) -> None:
    answer = await client.post(URL, json=body(word("blue"), word("green"), word("red"), format="rle"))

    results = answer.json()["prompt_results"]
    masks = [[coco.decode(prediction["masks"]) for prediction in result["predictions"]] for result in results]
    assert [result["echo"]["text"] for result in results] == ["blue", "green", "red"]
    assert [[int(mask.sum()) for mask in of_one] for of_one in masks] == [[SQUARE], [], [SQUARE]]


def visual(*boxes: Mapping[str, float], **fields: Any) -> dict[str, Any]:
    return {"type": "visual", "boxes": list(boxes), **fields}


RED = {"x": 0, "y": 0, "width": 16, "height": 16}
BLUE = {"x0": 32, "y0": 0, "x1": 48, "y1": 16}


async def test_boxes_show_what_is_meant(client: httpx.AsyncClient) -> None:
    prompts = (visual(RED, box_labels=[1]), word("green"), visual(BLUE))

    answer = await client.post(URL, json=body(*prompts, format="rle"))

    results = answer.json()["prompt_results"]
    red, green, blue = (result["predictions"] for result in results)
    assert coco.decode(red[0]["masks"])[:16, :16].all()
    assert coco.decode(blue[0]["masks"])[:16, 32:].all()
    assert [len(one) for one in (red, green, blue)] == [1, 0, 1]
    assert [result["echo"] for result in results] == [
        {"prompt_index": 0, "type": "visual", "text": None, "num_boxes": 1},
        {"prompt_index": 1, "type": "text", "text": "green", "num_boxes": 0},
        {"prompt_index": 2, "type": "visual", "text": None, "num_boxes": 1},
    ]


@pytest.mark.parametrize(
    ("prompt", "field"),
    [
        (visual(), "prompts.0"),
        (visual(RED, box_labels=[0]), "prompts.0"),
        (visual(RED, box_labels=[1, 0]), "prompts.0.box_labels"),
        (visual(RED, box_labels=[2]), "prompts.0.box_labels.0"),
        (visual({**RED, "width": 4000}), "classes.0.examples.0"),
    ],
)
async def test_boxes_that_say_nothing_are_refused(
    client: httpx.AsyncClient, prompt: dict[str, Any], field: str
) -> None:
    answer = await client.post(URL, json=body(prompt))

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"].startswith(field)


VISUAL = "/adapters/roboflow/sam3/visual_segment"
CLICK = {"points": [{"x": 4, "y": 4, "positive": True}]}
AROUND_BLUE = {"box": {"x": 40, "y": 8, "width": 16, "height": 16}}  # the centre of the box, and its size


@pytest.mark.parametrize("prompts", [[CLICK, AROUND_BLUE], {"prompts": [CLICK, AROUND_BLUE]}])
@pytest.mark.parametrize(("form", "written"), [("json", "polygon"), ("rle", "rle")])
async def test_points_and_boxes_get_their_best_mask_in_order(
    client: httpx.AsyncClient, prompts: Any, form: str, written: str
) -> None:
    sent = {"image": {"type": "base64", "value": IN_TEXT}, "prompts": prompts, "format": form}

    answer = await client.post(VISUAL, json=sent)

    assert answer.status_code == 200, answer.text
    predictions = answer.json()["predictions"]
    assert [prediction["format"] for prediction in predictions] == [written] * 2
    if form == "rle":
        red, blue = (coco.decode(prediction["masks"]) for prediction in predictions)
        assert red[:16, :16].all()
        assert blue[:16, 32:].all()
    else:
        assert sorted(predictions[1]["masks"][0]) == [[32, 0], [32, 16], [48, 0], [48, 16]]


async def test_an_embedded_image_is_clicked_into_by_its_id(client: httpx.AsyncClient) -> None:
    image = {"type": "base64", "value": IN_TEXT}
    embedded = await client.post("/adapters/roboflow/sam3/embed_image", json={"image": image, "image_id": "mine"})
    sent = {"image_id": embedded.json()["image_id"], "prompts": [CLICK], "format": "rle"}

    by_id = await client.post(VISUAL, json=sent)
    by_image = await client.post(VISUAL, json={**sent, "image": image, "image_id": "mine"})

    assert by_id.status_code == 200, by_id.text
    assert by_id.json()["predictions"] == by_image.json()["predictions"] != []


INFER = "/adapters/roboflow/infer/instance_segmentation"
OF_MODEL = {"model_id": "colours", "image": {"type": "base64", "value": IN_TEXT}}


@pytest.mark.parametrize("form", ["polygon", "rle"])
async def test_infer_answers_the_words_of_the_class_filter(client: httpx.AsyncClient, form: str) -> None:
    sent = {**OF_MODEL, "class_filter": ["blue", "green"], "response_mask_format": form, "confidence": 0.2}

    answer = await client.post(INFER, json=sent)

    (blue,) = answer.json()["predictions"]
    assert (blue["class"], blue["class_id"], blue["x"], blue["y"]) == ("blue", 0, 40, 8)
    if form == "rle":
        assert coco.area(blue["rle"]) == SQUARE
    else:
        corners = [(point["x"], point["y"]) for point in blue["points"]]
        assert sorted(corners) == [(32, 0), (32, 16), (48, 0), (48, 16)]


async def test_a_version_follows_a_models_name_as_in_roboflows(client: httpx.AsyncClient) -> None:
    sent = {**OF_MODEL, "class_filter": ["blue"]}

    served, unknown = [await client.post(INFER, json={**sent, "model_id": name}) for name in ("colours/1", "colours/9")]

    assert [each["class"] for each in served.json()["predictions"]] == ["blue"]
    assert (unknown.status_code, "there is: colours@1" in unknown.json()["detail"]) == (404, True)


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        (INFER, OF_MODEL, 422, "class_filter=[...]"),
        (VISUAL, {"prompts": [CLICK]}, 422, "image"),
        (VISUAL, {"prompts": [CLICK], "image_id": "mine"}, 404, "image"),
        (INFER, {**OF_MODEL, "class_filter": ["red"], "image": [OF_MODEL["image"]] * 2}, 422, "image"),
        ("/adapters/roboflow/model/add", {"model_id": "coco/3"}, 404, "coco@3"),
    ],
    ids=["no words", "no image", "no such image", "two images", "no such model"],
)
async def test_what_is_not_answered_is_refused_by_name(
    client: httpx.AsyncClient, path: str, body: Any, status: int, said: str
) -> None:
    answer = await client.post(path, json=body)

    assert (answer.status_code, said in answer.json()["detail"]) == (status, True)


async def test_the_models_that_are_served_are_listed(client: httpx.AsyncClient) -> None:
    listed = (await client.get("/adapters/roboflow/model/registry")).json()["models"]
    added = await client.post("/adapters/roboflow/model/add", json={"model_id": "colours/1"})

    assert [each["model_id"] for each in listed] == ["colours", "colours/1"]
    assert {each["task_type"] for each in listed} == {"instance-segmentation"}
    assert added.json()["models"] == listed


async def test_there_are_no_more_prompts_than_classes() -> None:
    async with adapted("roboflow", limits={"max_classes": 2}) as client:
        answer = await client.post(URL, json=body(*[word("red")] * 3))

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "prompts")
