"""Refusals as the tools show them: the URL that their request ended at."""

from typing import Any

import httpx
import pytest

from tests.service.adapters.asking import IN_TEXT
from tests.service.adapters.label_studio.predicting import asked

LABEL_STUDIO = {"user-agent": "heartex/1.23.2"}
CVAT = {"user-agent": "CVAT/2.80.0 python-requests/2.34.0"}
NO_PICTURE = '<View><Text name="text" value="$text"/><Labels name="tag" toName="text"/></View>'
POINT = {"image": IN_TEXT, "pos_points": [[1, 1]]}


async def shown(client: httpx.AsyncClient, path: str, headers: dict[str, str], body: dict[str, Any]) -> tuple[int, str]:
    """The status, and the reason in the URL; a body is sent once."""
    answer = await client.post(path, json=body, headers=headers, follow_redirects=True)
    assert [each.request.method for each in (*answer.history, answer)] in (["POST"], ["POST", "GET"])
    return answer.status_code, answer.url.params.get("reason", "")


@pytest.mark.parametrize(
    ("path", "headers", "body", "status", "reason"),
    [
        ("label-studio/setup", LABEL_STUDIO, {"schema": NO_PICTURE}, 422, "toName` of an Image"),
        ("label-studio/predict", LABEL_STUDIO, asked(NO_PICTURE), 422, "toName` of an Image"),
        ("label-studio/predict", LABEL_STUDIO, asked(image="/data/upload/1.png"), 422, "LEXISEG_LABEL_STUDIO_URL"),
        (
            "label-studio/predict",
            LABEL_STUDIO,
            asked(image="https://a.example/1.png"),
            403,
            "LEXISEG_URL_NETWORKS names no host",
        ),
        ("label-studio/predict", LABEL_STUDIO, {"task_list": []}, 422, "label_config"),
        ("/api/function_invocations", {**CVAT, "x-nuclio-function-name": "lexiseg-sam9"}, POINT, 404, "sam9"),
        ("/api/function_invocations", {**CVAT, "x-nuclio-function-name": "yolo"}, POINT, 404, "lexiseg-MODEL"),
        ("/api/function_invocations", {**CVAT, "x-nuclio-function-name": "lexiseg-colours"}, {}, 422, "image"),
    ],
)
async def test_a_refusal_stands_in_the_url_that_the_tool_shows(
    client: httpx.AsyncClient, path: str, headers: dict[str, str], body: dict[str, Any], status: int, reason: str
) -> None:
    said = await shown(client, path if path[0] == "/" else f"/adapters/{path}", headers, body)

    assert said[0] == status
    assert reason in said[1]


@pytest.mark.parametrize("name", ["too-large", "queue-full", "no such type"])
async def test_the_address_of_refusals_refuses(client: httpx.AsyncClient, name: str) -> None:
    answer = await client.get("/api/refused", params={"type": name, "reason": "because"})

    assert answer.status_code in (413, 422)
    assert answer.json()["detail"] == "because"


async def test_other_clients_get_the_problem_document_at_once(client: httpx.AsyncClient) -> None:
    answer = await client.post("/adapters/label-studio/predict", json=asked(NO_PICTURE))

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "label_config")


@pytest.mark.parametrize("config", ["", "<View></View>"])
async def test_a_project_without_labels_yet_is_connected(client: httpx.AsyncClient, config: str) -> None:
    status, reason = await shown(client, "/adapters/label-studio/setup", LABEL_STUDIO, {"schema": config})

    assert (status, reason) == (200, "")


async def test_a_project_with_pictures_is_connected(client: httpx.AsyncClient) -> None:
    body = {"project": "1.2", "schema": asked()["label_config"], "extra_params": None}

    assert (await shown(client, "/adapters/label-studio/setup", LABEL_STUDIO, body))[0] == 200
