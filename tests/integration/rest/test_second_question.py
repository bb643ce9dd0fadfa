"""A second question about an image needs no upload and no image pass; all mask formats agree."""

from __future__ import annotations

import base64
import io
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from lexiseg_model.types import Ring
from tests import coco, pictures
from tests.model.masks.filled import fill

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


def test_an_upload_of_the_same_image_runs_no_image_pass(client: httpx.Client, first: dict[str, Any]) -> None:
    answer = client.post("/segment", files={"image": CHINA}, data={"classes": ["water"]})

    assert answer.json()["cache"]["features"] is True


def test_an_unknown_id_is_expired(client: httpx.Client) -> None:
    answer = client.post("/segment", json={"image": {"id": "0" * 32}, "classes": CLASSES})

    assert (answer.status_code, answer.json()["type"]) == (404, "image-expired")


def test_polygons_fill_to_the_run_length_masks(client: httpx.Client, first: dict[str, Any]) -> None:
    outlined = ask(client, image={"id": first["image_id"]}, mask="polygon")

    for segment in outlined["segments"]:
        filled = fill([Ring(**ring) for ring in segment["mask"]["rings"]], tuple(outlined["size"]))
        assert np.array_equal(filled, masks(first)[segment["label"]])


def test_the_label_map_holds_the_run_length_masks(client: httpx.Client, first: dict[str, Any]) -> None:
    mapped = ask(client, image={"id": first["image_id"]}, mask="png")

    with Image.open(io.BytesIO(base64.b64decode(mapped["label_map"]["base64"]))) as picture:
        ids = np.asarray(picture)
    assert mapped["label_map"]["bits"] == 8
    for segment in mapped["segments"]:
        assert segment["mask"] is None
        assert np.array_equal(ids == segment["id"], masks(first)[segment["label"]])
