"""Masks of a real server, and what it takes as proxies send it."""

import io
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from tests import coco, pictures
from tests.integration.server import form

SCENES = {
    "china": ["sky", "building", "tree", "water", "zebra"], "flower": ["flower", "leaf", "car"],
    "chelsea": ["cat", "dog"], "coffee": ["cup", "table", "spoon"], "astronaut": ["person", "flag", "sky"],
    "rocket": ["rocket", "sky", "sea"],
}  # fmt: skip


def photograph(name: str, side: int = 320) -> bytes:
    return pictures.encoded(pictures.small(name, side), "JPEG", quality=90)


def answered(response: httpx.Response) -> dict[str, Any]:
    assert response.status_code == 200, response.text
    content: dict[str, Any] = response.json()
    return content


def ask(client: httpx.Client, image: bytes, *classes: str, **fields: Any) -> dict[str, Any]:
    return answered(client.post("/segment", files=form(image, *classes, **fields)))


@pytest.mark.parametrize("name", SCENES)
def test_every_mask_agrees_with_its_area_box_and_size_and_no_pixel_has_two_classes(
    client: httpx.Client, name: str
) -> None:
    answer = ask(client, photograph(name), *SCENES[name])

    width, height = pictures.small(name, 320).size
    assert answer["size"] == [height, width]
    owners = np.zeros((height, width), int)
    for segment in answer["segments"]:
        pixels = coco.decode(segment["mask"])
        rows, columns = np.nonzero(pixels)
        corner = [int(columns.min()), int(rows.min())]
        assert pixels.shape == (height, width)
        assert segment["area"] == int(pixels.sum()) == coco.area(segment["mask"])
        assert segment["bbox"] == [*corner, int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1]
        assert segment["bbox"] == coco.box(segment["mask"])
        owners += pixels
    assert owners.max(initial=0) <= 1


def owners(answer: dict[str, Any]) -> np.ndarray[Any, Any]:
    """The id of each pixel's segment, 0 for none."""
    labels = np.zeros(answer["size"], int)
    for segment in answer["segments"]:
        labels[coco.decode(segment["mask"]).astype(bool)] = segment["class_index"] + 1
    return labels


@pytest.mark.parametrize(("name", "side"), [("flower", 1000), ("coffee", 1300), ("rocket", 1920), ("china", 3001)])
def test_a_large_jpeg_has_the_labels_of_its_png_also_with_an_overlay(
    client: httpx.Client, name: str, side: int
) -> None:
    sharp = np.asarray(pictures.photograph(name))
    row = np.concatenate([sharp, sharp[:, ::-1]] * 3, 1)[:, :side]
    enlarged = np.concatenate([row, row[::-1]] * 4)[: 2 * side // 3]  # with as much detail as a picture can have
    jpeg = pictures.encoded(Image.fromarray(enlarged), "JPEG", quality=90)
    with Image.open(io.BytesIO(jpeg)) as decoded:
        png = pictures.encoded(decoded, compress_level=1)

    labels, of_png, with_overlay = (
        owners(ask(client, image, *SCENES[name], **fields))
        for image, fields in ((jpeg, {}), (png, {}), (jpeg, {"overlay": True}))
    )

    assert np.array_equal(labels, of_png)
    assert np.array_equal(labels, with_overlay)


@pytest.mark.parametrize("path", ["/v1/models", "/vocabularies/ade847", "/livez", "/metrics", "/docs"])
def test_head_has_the_length_of_a_body_that_does_not_come(client: httpx.Client, path: str) -> None:
    answer = client.head(path, headers={"Accept-Encoding": "identity"})

    assert (answer.status_code, answer.content) == (200, b"")
    assert int(answer.headers["content-length"]) > 0
    assert client.get("/livez").status_code == 200  # the connection is not out of step


def test_a_head_of_some_kilobytes_as_proxies_send_it_is_taken(client: httpx.Client) -> None:
    assert client.get("/livez", headers={"X-Long": "a" * 30_000}).status_code == 200
