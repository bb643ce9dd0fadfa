"""What was not asked is never an empty answer: each adapter, for each reason not to ask, as its tool reads it."""

from typing import Any

import httpx
import pytest

from lexiseg_service.gateway.admission.key_file import line_of, new_key
from tests.service.adapters.asking import IN_TEXT, PICTURE, adapted
from tests.service.adapters.label_studio.predicting import CONFIG

BROKEN = b"no picture"
BROKEN_TEXT = "bm8gcGljdHVyZQ=="


def of(text: str, content: bytes) -> dict[str, tuple[str, dict[str, Any]]]:
    """By tool: path and request about a picture, in base64 or as a file."""
    base64_image = {"type": "base64", "value": text}
    task = {"data": {"photo": f"data:image/png;base64,{text}"}}
    box = {"box": {"x": 8, "y": 8, "width": 16, "height": 16}}
    words = {"model": "colours", "image": text, "params": {"text_prompt": "red"}}
    return {
        "x-anylabeling": ("/adapters/x-anylabeling/v1/predict", {"json": words}),
        "label-studio": ("/adapters/label-studio/predict", {"json": {"tasks": [task], "label_config": CONFIG}}),
        "label-studio, two": (
            "/adapters/label-studio/predict",
            {"json": {"tasks": [task, task], "label_config": CONFIG}},
        ),
        "roboflow, words": (
            "/adapters/roboflow/sam3/concept_segment",
            {"json": {"image": base64_image, "prompts": [{"text": "red"}]}},
        ),
        "roboflow, boxes": (
            "/adapters/roboflow/sam3/visual_segment",
            {"json": {"image": base64_image, "prompts": [box]}},
        ),
        "hugging-face": ("/adapters/hugging-face?classes=red", {"content": content}),
        "hugging-face, json": ("/adapters/hugging-face?classes=red", {"json": {"inputs": text}}),
    }


async def taken_for_an_answer(client: httpx.AsyncClient, path: str, request: dict[str, Any]) -> bool:
    """Whether the tool takes what comes for an answer about the picture."""
    answer = await client.post(path, **request)
    if "x-anylabeling" in path:  # of any other status it deletes the shapes of the image
        shown = answer.json()["data"]
        assert answer.status_code == 200
        return not shown["description"] or shown.get("replace") is not False or answer.json()["success"]
    if "label-studio" in path and answer.is_success:
        return any("result" in each for each in answer.json()["results"])
    return answer.is_success


async def answered(client: httpx.AsyncClient, text: str, content: bytes) -> list[str]:
    """The tools that take what comes for an answer about a picture."""
    return [tool for tool, asked in of(text, content).items() if await taken_for_an_answer(client, *asked)]


async def test_a_picture_that_cannot_be_read_is_no_empty_answer(client: httpx.AsyncClient) -> None:
    assert await answered(client, IN_TEXT, PICTURE) == [*of("", b"")]
    assert await answered(client, BROKEN_TEXT, BROKEN) == []


@pytest.mark.parametrize(
    "settings",
    [
        {"deadline_seconds": 1e-6},
        {"api_keys": line_of("tool", new_key())},
        {"limits": {"max_image_bytes": 20}},
        {"rate_limit": 0.001},
    ],
    ids=["deadline", "no key", "too large", "rate"],
)
async def test_what_is_not_asked_is_no_empty_answer(settings: dict[str, Any]) -> None:
    async with adapted(**settings) as client:
        await client.post("/v1/segment")  # takes the only token of the rate
        assert await answered(client, IN_TEXT, PICTURE) == []
