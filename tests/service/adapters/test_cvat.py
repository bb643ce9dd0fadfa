"""CVAT's calls of Nuclio's dashboard, as its lambda_manager makes them (cvat/apps/lambda_manager/views.py)."""

import base64
import json
from typing import Any

import httpx
import numpy as np
import pytest

from lexiseg_service.gateway.admission.access import line_of, new_key
from tests.service.adapters.asking import HEIGHT, IN_TEXT, SQUARE, WIDTH, adapted

NAME = {"x-nuclio-function-name": "lexiseg-colours"}


async def invoked(client: httpx.AsyncClient, **payload: Any) -> httpx.Response:
    content = {"image": IN_TEXT, "pos_points": [], "neg_points": [], "obj_bbox": None, **payload}
    return await client.post("/api/function_invocations", json=content, headers=NAME)


async def test_cvat_finds_an_interactor_for_each_model_with_prompts(client: httpx.AsyncClient) -> None:
    (function,) = (await client.get("/api/functions")).json().values()

    # What `LambdaFunction` reads.
    annotations = function["metadata"]["annotations"]
    assert function["metadata"]["name"] == "lexiseg-colours"
    assert annotations["type"] == "interactor"
    assert json.loads(annotations["spec"]) == []
    assert [int(annotations[name]) for name in ("min_pos_points", "min_neg_points", "version")] == [0, 0, 2]
    assert bool(annotations["startswith_box_optional"])
    assert isinstance(function["spec"]["description"], str)
    assert "httpPort" not in function["status"]
    assert (await client.get("/api/functions/lexiseg-colours")).json() == function


@pytest.mark.parametrize(
    "prompt",
    [
        {"pos_points": [[40, 4]]}, {"pos_points": [[40, 4]], "neg_points": [[4, 4]]},
        {"obj_bbox": [[30, 0], [48, 18]]}, {"pos_points": [[40, 4]], "obj_bbox": []},
    ],
)  # fmt: skip
async def test_points_and_a_box_are_answered_with_the_mask_of_the_image(
    client: httpx.AsyncClient, prompt: dict[str, Any]
) -> None:
    mask = np.array((await invoked(client, **prompt)).json()["mask"])

    assert mask.shape == (HEIGHT, WIDTH)
    assert set(np.unique(mask)) == {0, 1}
    assert (mask.sum(), mask[4, 40], mask[4, 4]) == (SQUARE, 1, 0)


@pytest.mark.parametrize(
    ("payload", "field"),
    [({}, "pos_points"), ({"obj_bbox": [[1, 2]]}, "obj_bbox"), ({"pos_points": [[1]]}, "pos_points.0.1")],
)
async def test_a_call_that_is_none_is_refused(client: httpx.AsyncClient, payload: dict[str, Any], field: str) -> None:
    answer = await invoked(client, **payload)

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)


async def test_a_function_of_another_name_is_unknown(client: httpx.AsyncClient) -> None:
    answer = await client.post("/api/function_invocations", json={}, headers={"x-nuclio-function-name": "sam"})

    assert (answer.status_code, answer.json()["type"]) == (404, "unknown-model")
    assert "lexiseg-MODEL" in answer.json()["detail"]


async def test_the_key_may_stand_in_the_host_that_cvat_is_told() -> None:
    key = new_key()
    basic = base64.b64encode(f"cvat:{key}".encode()).decode()  # as requests sends http://cvat:KEY@lexiseg:8000
    async with adapted("cvat", api_keys=line_of("cvat", key)) as client:
        known = await client.get("/api/functions", headers={"Authorization": f"Basic {basic}"})
        stranger = await client.get("/api/functions")

    assert (known.status_code, stranger.status_code) == (200, 401)
