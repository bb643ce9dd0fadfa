"""Refusals as Label Studio shows them: the URL that its request ended at."""

from typing import Any

import httpx
import pytest

from tests.service.adapters.label_studio.predicting import asked

LABEL_STUDIO = {"user-agent": "heartex/1.23.2"}
NO_PICTURE = '<View><Text name="text" value="$text"/><Labels name="tag" toName="text"/></View>'


async def shown(client: httpx.AsyncClient, path: str, body: dict[str, Any]) -> tuple[int, str]:
    """The status, and the reason in the URL; a body is sent once."""
    answer = await client.post(path, json=body, headers=LABEL_STUDIO, follow_redirects=True)
    assert [each.request.method for each in (*answer.history, answer)] in (["POST"], ["POST", "GET"])
    return answer.status_code, answer.url.params.get("reason", "")


@pytest.mark.parametrize(
    ("path", "body", "status", "reason"),
    [
        ("label-studio/setup", {"schema": NO_PICTURE}, 422, "toName` of an Image"),
        ("label-studio/predict", asked(NO_PICTURE), 422, "toName` of an Image"),
        ("label-studio/predict", asked(image="/data/upload/1.png"), 422, "LEXISEG_LABEL_STUDIO_URL"),
        (
            "label-studio/predict",
            asked(image="https://a.example/1.png"),
            403,
            "LEXISEG_URL_NETWORKS names no host",
        ),
        ("label-studio/predict", {"task_list": []}, 422, "label_config"),
    ],
)
async def test_a_refusal_stands_in_the_url_that_the_tool_shows(
    client: httpx.AsyncClient, path: str, body: dict[str, Any], status: int, reason: str
) -> None:
    said = await shown(client, f"/adapters/{path}", body)

    assert said[0] == status
    assert reason in said[1]


@pytest.mark.parametrize("name", ["too-large", "queue-full", "no such type"])
async def test_the_address_of_refusals_refuses(client: httpx.AsyncClient, name: str) -> None:
    answer = await client.get("/adapters/label-studio/refused", params={"type": name, "reason": "because"})

    assert answer.status_code in (413, 422)
    assert answer.json()["detail"] == "because"


async def test_other_clients_get_the_problem_document_at_once(client: httpx.AsyncClient) -> None:
    answer = await client.post("/adapters/label-studio/predict", json=asked(NO_PICTURE))

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "label_config")


@pytest.mark.parametrize("config", ["", "<View></View>"])
async def test_a_project_without_labels_yet_is_connected(client: httpx.AsyncClient, config: str) -> None:
    status, reason = await shown(client, "/adapters/label-studio/setup", {"schema": config})

    assert (status, reason) == (200, "")


async def test_a_project_with_pictures_is_connected(client: httpx.AsyncClient) -> None:
    body = {"project": "1.2", "schema": asked()["label_config"], "extra_params": None}

    assert (await shown(client, "/adapters/label-studio/setup", body))[0] == 200
