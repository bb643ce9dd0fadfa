from __future__ import annotations

from typing import Any

import httpx

from tests import coco
from tests.service.adapters.asking import IN_TEXT, SQUARE

URL = "/adapters/roboflow/sam3/concept_segment"


def body(*prompts: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"image": {"type": "base64", "value": IN_TEXT}, "prompts": list(prompts), **fields}


def word(text: str, **fields: Any) -> dict[str, Any]:
    return {"type": "text", "text": text, **fields}


async def test_each_prompt_has_its_result(client: httpx.AsyncClient) -> None:
    answer = await client.post(URL, json=body(word("blue"), word("green"), word("red"), format="rle"))

    results = answer.json()["prompt_results"]
    masks = [[coco.decode(prediction["masks"]) for prediction in result["predictions"]] for result in results]
    assert [result["echo"]["text"] for result in results] == ["blue", "green", "red"]
    assert [[int(mask.sum()) for mask in of_one] for of_one in masks] == [[SQUARE], [], [SQUARE]]


async def test_polygons_are_pairs_of_corners(client: httpx.AsyncClient) -> None:
    answer = await client.post(URL, json=body(word("blue")))

    (prediction,) = answer.json()["prompt_results"][0]["predictions"]
    assert prediction["format"] == "polygon"
    assert sorted(prediction["masks"][0]) == [[32, 0], [32, 16], [48, 0], [48, 16]]


async def test_a_prompt_may_have_a_threshold_of_its_own(client: httpx.AsyncClient) -> None:
    answer = await client.post(URL, json=body(word("red", output_prob_thresh=1.0), word("blue")))

    assert [len(result["predictions"]) for result in answer.json()["prompt_results"]] == [0, 1]


async def test_examples_by_box_are_refused_in_words(client: httpx.AsyncClient) -> None:
    box = {"type": "visual", "boxes": [{"x": 0, "y": 0, "width": 4, "height": 4}], "box_labels": [1]}

    answer = await client.post(URL, json=body(box))

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "prompts.0")
