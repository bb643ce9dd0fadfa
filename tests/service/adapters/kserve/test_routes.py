from __future__ import annotations

import json
import struct
from typing import Any

import httpx
import numpy as np
import pytest

from tests import coco
from tests.service.adapters.asking import HEIGHT, IN_TEXT, PICTURE, SQUARE, WIDTH

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


async def test_tensors_may_come_and_go_as_bytes(client: httpx.AsyncClient) -> None:
    raw = struct.pack("<I", len(PICTURE)) + PICTURE, b"".join(struct.pack("<I", 4) + word for word in (b"blue",))
    inputs = [
        {"name": name, "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": len(content)}}
        for name, content in zip(("image", "classes"), raw, strict=True)
    ]
    head = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}}).encode()

    answer = await client.post(
        f"{URL}/infer", content=head + b"".join(raw), headers={"Inference-Header-Content-Length": str(len(head))}
    )

    length = int(answer.headers["Inference-Header-Content-Length"])
    described = json.loads(answer.content[:length])["outputs"]
    at, found = length, {}
    for output in described:
        size = output["parameters"]["binary_data_size"]
        found[output["name"]] = answer.content[at : at + size]
        at += size
    assert at == len(answer.content)
    assert np.frombuffer(found["boxes"], "<i4").tolist() == [32, 0, 16, 16]
    assert found["labels"] == struct.pack("<I", 4) + b"blue"


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
        ({}, "inputs"),
    ],
    ids=["no image", "another type", "no such output", "no strings", "nothing"],
)
async def test_what_is_wrong_stands_in_the_field_of_the_protocol(
    client: httpx.AsyncClient, body: dict[str, Any], said: str
) -> None:
    answer = await client.post(f"{URL}/infer", json=body)

    assert answer.status_code == 422
    assert said in answer.json()["error"]


async def test_bytes_that_do_not_fill_their_elements_are_refused(client: httpx.AsyncClient) -> None:
    image = {"name": "image", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": 6}}
    head = json.dumps({"inputs": [image, WORDS]}).encode()

    answer = await client.post(
        f"{URL}/infer",
        content=head + b"\xff\xff\xff\xffab",
        headers={"Inference-Header-Content-Length": str(len(head))},
    )

    assert (answer.status_code, answer.json()["type"]) == (422, "invalid-value")


async def test_server_and_model_tell_of_themselves(client: httpx.AsyncClient) -> None:
    server, model = (await client.get("/v2")).json(), (await client.get(f"{URL}/versions/1")).json()

    assert server["name"] == "lexiseg"
    assert (model["name"], model["versions"]) == ("colours", ["1"])
    assert {tensor["name"] for tensor in model["inputs"]} == {"image", "classes"}
    assert (await client.get("/v2/health/ready")).json() == {"ready": True}
    assert (await client.get(f"{URL}/ready")).status_code == 200


async def test_an_unknown_model_is_404(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v2/models/nope/ready")

    assert (answer.status_code, "nope" in answer.json()["error"]) == (404, True)


@pytest.mark.parametrize("path", ["", "/versions/1"])
async def test_tritons_model_configuration_names_the_tensors(client: httpx.AsyncClient, path: str) -> None:
    config = (await client.get(f"{URL}{path}/config")).json()

    assert (config["name"], config["max_batch_size"]) == ("colours", 0)
    assert config["input"] == [
        {"name": "image", "data_type": "TYPE_STRING", "dims": [1], "optional": False},
        {"name": "classes", "data_type": "TYPE_STRING", "dims": [-1], "optional": True},
    ]
    assert {tensor["name"]: tensor["data_type"] for tensor in config["output"]}["scores"] == "TYPE_FP32"
