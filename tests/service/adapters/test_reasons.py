"""Refusals as Label Studio shows them: the URL that its request ended at."""

from typing import Any

import httpx
import pytest

from tests.service.adapters.label_studio.predicting import URL, asked

LABEL_STUDIO = {"user-agent": "heartex/1.23.2"}
NO_PICTURE = '<View><Text name="text" value="$text"/><Labels name="tag" toName="text"/></View>'


@pytest.mark.parametrize(
    ("path", "body", "status", "reason"),
    [
        ("setup", {"schema": NO_PICTURE}, 422, "toName` of an Image"),
        ("setup", {"schema": ""}, 200, ""),
        ("setup", {"schema": "<View></View>"}, 200, ""),  # without labels yet
        ("setup", {"project": "1.2", "schema": asked()["label_config"], "extra_params": None}, 200, ""),
        ("predict", asked(NO_PICTURE), 422, "toName` of an Image"),
        ("predict", asked(image="/data/upload/1.png"), 422, "LEXISEG_LABEL_STUDIO_URL"),
        ("predict", asked(image="https://a.example/1.png"), 403, "LEXISEG_URL_NETWORKS names no host"),
        ("predict", {"task_list": []}, 422, "label_config"),
    ],
)
async def test_a_refusal_stands_in_the_url_that_the_tool_shows(
    client: httpx.AsyncClient, path: str, body: dict[str, Any], status: int, reason: str
) -> None:
    """A body is sent once."""
    answer = await client.post(f"{URL}/{path}", json=body, headers=LABEL_STUDIO, follow_redirects=True)

    reached = [each.request.method for each in (*answer.history, answer)]
    assert (answer.status_code, reached) == (status, ["POST", "GET"] if reason else ["POST"])
    assert reason in answer.url.params.get("reason", "")


@pytest.mark.parametrize("name", ["too-large", "queue-full", "no such type"])
async def test_the_address_of_refusals_refuses(client: httpx.AsyncClient, name: str) -> None:
    answer = await client.get(f"{URL}/refused", params={"type": name, "reason": "because"})

    assert answer.status_code in (413, 422)
    assert answer.json()["detail"] == "because"
