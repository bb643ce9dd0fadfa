import json
from typing import Any

import httpx
import pytest

from tests import coco
from tests.service.adapters.asking import HEIGHT, IN_TEXT, SQUARE, WIDTH

URL = "/v2/models/colours"
WORDS = {"name": "classes", "datatype": "BYTES", "shape": [2], "data": ["red", "blue"]}
IMAGE = {"name": "image", "datatype": "BYTES", "shape": [1], "data": [IN_TEXT]}


def outputs(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    return {output["name"]: output for output in answer.json()["outputs"]}


async def test_json_is_answered_in_json(client: httpx.AsyncClient) -> None:
    answer = await client.post(f"{URL}/infer", json={"id": "42", "inputs": [IMAGE, WORDS]})

    found = outputs(answer)
    assert answer.json()["id"] == "42"
    assert found["labels"]["data"] == ["red", "blue"]
    assert (found["boxes"]["shape"], found["boxes"]["data"]) == ([2, 4], [0, 0, 16, 16, 32, 0, 16, 16])
    assert found["size"]["data"] == [HEIGHT, WIDTH]
    assert [coco.area(json.loads(mask)) for mask in found["masks"]["data"]] == [SQUARE, SQUARE]


async def test_parameters_are_fields_of_the_question(client: httpx.AsyncClient) -> None:
    prompts = json.dumps([{"points": [{"x": 4, "y": 4}]}])

    answer = await client.post(f"{URL}/infer", json={"inputs": [IMAGE], "parameters": {"prompts": prompts}})

    assert outputs(answer)["areas"]["data"][0] == SQUARE


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"inputs": [WORDS]}, "image"),
        ({"inputs": [{**IMAGE, "datatype": "FP32"}, WORDS]}, "BYTES"),
        ({"inputs": [IMAGE, WORDS], "outputs": [{"name": "nope"}]}, "nope"),
        ({"inputs": [IMAGE, {**WORDS, "data": [1]}]}, "strings"),
        ({"inputs": [{**IMAGE, "parameters": {"shared_memory_region": "frames"}}, WORDS]}, "elements in the request"),
        ({"inputs": [IMAGE, {**WORDS, "data": json.loads("[" * 900 + "]" * 900)}]}, "8 dimensions"),
        ({}, "inputs"),
    ],
    ids=["no image", "another type", "no such output", "no strings", "shared memory", "lists in lists", "nothing"],
)
async def test_what_is_wrong_stands_in_the_field_of_the_protocol(
    client: httpx.AsyncClient, body: dict[str, Any], said: str
) -> None:
    answer = await client.post(f"{URL}/infer", json=body)

    assert answer.status_code == 422
    assert said in answer.json()["error"]


@pytest.mark.parametrize(
    "path",
    [
        "/v2/repository/models/colours/load",
        "/v2/trace/setting",
        "/v2/logging",
        "/v2/systemsharedmemory/region/a/register",
    ],
)
async def test_other_extensions_of_triton_are_refused_in_its_own_way(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.post(path, json={})

    assert (answer.status_code, path in answer.json()["error"]) == (403, True)


async def test_a_compressed_body_is_refused_in_words(client: httpx.AsyncClient) -> None:
    answer = await client.post(f"{URL}/infer", content=b"\x1f\x8b", headers={"content-encoding": "gzip"})

    assert (answer.status_code, "content-encoding 'gzip'" in answer.json()["error"]) == (400, True)


@pytest.mark.parametrize("length", ["9" * 5000, "99999", "-1"])
async def test_a_length_beyond_the_body_is_refused(client: httpx.AsyncClient, length: str) -> None:
    headers = {"Inference-Header-Content-Length": length}

    answer = await client.post(f"{URL}/infer", content=b"{}", headers=headers)

    assert (answer.status_code, answer.json()["type"]) == (400, "malformed-request")


async def test_bytes_that_do_not_fill_their_elements_are_refused(client: httpx.AsyncClient) -> None:
    image = {"name": "image", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": 6}}
    head = json.dumps({"inputs": [image, WORDS]}).encode()

    answer = await client.post(
        f"{URL}/infer",
        content=head + b"\xff\xff\xff\xffab",
        headers={"Inference-Header-Content-Length": str(len(head))},
    )

    assert (answer.status_code, answer.json()["type"]) == (422, "invalid-value")


async def test_statistics_count_what_was_answered_and_what_was_refused(client: httpx.AsyncClient) -> None:
    await client.post(f"{URL}/infer", json={"inputs": [IMAGE, WORDS]})
    await client.post(f"{URL}/infer", json={"inputs": [{**IMAGE, "data": ["bm8gcGljdHVyZQ=="]}, WORDS]})

    (of_one,) = (await client.get(f"{URL}/stats")).json()["model_stats"]

    counts = {kind: duration["count"] for kind, duration in of_one["inference_stats"].items()}
    assert (of_one["name"], of_one["inference_count"]) == ("colours", 1)
    assert (counts["success"], counts["fail"], counts["compute_infer"]) == (1, 1, 1)
    assert of_one["inference_stats"]["success"]["ns"] > of_one["inference_stats"]["compute_infer"]["ns"]


@pytest.mark.parametrize("body", [None, {"ready": True}])
async def test_the_index_lists_the_models(client: httpx.AsyncClient, body: Any) -> None:
    index = await client.post("/v2/repository/index", json=body)

    assert [(each["name"], each["state"]) for each in index.json()] == [("colours", "READY")]
