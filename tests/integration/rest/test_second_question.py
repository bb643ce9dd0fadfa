"""A second question about an image needs no upload and no image pass; all mask formats agree."""

from __future__ import annotations

import base64
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from tests import coco, pictures

CLASSES = ["sky", "building", "tree"]
CHINA = pictures.encoded(pictures.photograph("china"), "JPEG")


def ask(client: httpx.Client, **fields: Any) -> dict[str, Any]:
    answer = client.post("/segment", json={"classes": CLASSES, **fields})
    assert answer.status_code == 200, answer.text
    content: dict[str, Any] = answer.json()
    return content


@pytest.fixture
def first(client: httpx.Client) -> dict[str, Any]:
    return ask(client, image={"base64": base64.b64encode(CHINA).decode()})


def masks(answer: dict[str, Any]) -> dict[str, NDArray[np.bool_]]:
    return {segment["label"]: coco.decode(segment["mask"]) for segment in answer["segments"]}


def test_a_second_question_runs_no_image_pass(client: httpx.Client, first: dict[str, Any]) -> None:
    second = ask(client, image={"id": first["image_id"]}, classes=["sky", "water"])

    assert second["cache"]["features"] is True
    assert second["timings_ms"]["image"] == 0


def test_the_same_question_by_id_has_the_same_answer(client: httpx.Client, first: dict[str, Any]) -> None:
    second = ask(client, image={"id": first["image_id"]})

    assert second["segments"] == first["segments"]
