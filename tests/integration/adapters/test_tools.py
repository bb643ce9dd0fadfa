"""The tools' own clients ask a real server; what they read is what `POST /segment` says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from huggingface_hub import InferenceClient

from tests import coco
from tests.integration.adapters.tools import ask_with
from tests.integration.server import Server, form

WORDS = ("sky", "building")


def segments(server: Server, photo: Path, *words: str, **fields: Any) -> dict[str, dict[str, Any]]:
    """By label, as the service's own route says them."""
    answer = httpx.post(f"{server.url}/segment", files=form(photo.read_bytes(), *words, **fields), timeout=60)
    answer.raise_for_status()
    return {segment["label"]: segment for segment in answer.json()["segments"]}


def test_label_studio_finds_nothing_wrong_and_reads_the_masks(adapters: Server, photo: Path) -> None:
    reports = ask_with("label_studio", f"{adapters.url}/adapters/label-studio", str(photo))

    assert {name: report["wrong"] for name, report in reports.items()} == {"brush": [], "polygon": [], "click": []}
    assert reports["brush"]["labels"] == reports["polygon"]["labels"] == ["Sky", "Temple"]
    assert reports["click"]["labels"] == ["Temple"]
    answer = httpx.post(
        f"{adapters.url}/segment",
        files={
            "image": photo.read_bytes(),
            "request": (None, '{"classes": [{"name": "Temple", "synonyms": ["building", "pagoda"]}, "Sky"]}'),
        },
        timeout=60,
    ).json()
    assert reports["brush"]["areas"] == [segment["area"] for segment in answer["segments"]]


def test_hugging_faces_client_reads_masks(adapters: Server, photo: Path) -> None:
    url = f"{adapters.url}/adapters/hugging-face?classes=sky&classes=building"

    plain = InferenceClient(token="none-needed").image_segmentation(photo, model=url)
    chosen = InferenceClient(token="none-needed").image_segmentation(photo, model=url, threshold=0.9)

    expected = segments(adapters, photo, *WORDS)
    areas = {element.label: int((np.asarray(element.mask) == 255).sum()) for element in plain}
    assert areas == {label: segment["area"] for label, segment in expected.items()}
    assert {element.label for element in chosen} == {"sky"}


@pytest.mark.parametrize("kind", ["polygon", "rle"])
def test_inference_sdk_reads_each_words_masks(adapters: Server, photo: Path, kind: str) -> None:
    answer = ask_with("roboflow", f"{adapters.url}/adapters/roboflow", str(photo), kind)

    by_word = {result["echo"]["text"]: result["predictions"] for result in answer["concept"]["prompt_results"]}
    (clicked,) = answer["visual"]["predictions"]
    assert (clicked["format"], bool(clicked["masks"])) == (kind, True)
    assert set(by_word) == {*WORDS, None}
    assert by_word[None]
    assert {prediction["format"] for found in by_word.values() for prediction in found} == {kind}
    assert min(prediction["confidence"] for found in by_word.values() for prediction in found) >= 0.2


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_tritons_client_speaks_the_open_inference_protocol(adapters: Server, photo: Path, protocol: str) -> None:
    address = adapters.grpc if protocol == "grpc" else adapters.url.removeprefix("http://")

    report = ask_with(f"triton_{protocol}", address, str(photo))

    expected = segments(adapters, photo, *WORDS)
    assert (report["live"], report["ready"], report["id"]) == (True, True, "7")
    assert report["inputs"] == ["image", "classes"]
    assert report["configured"] == ["image", "classes"]
    assert dict(zip(report["labels"], report["areas"], strict=True)) == {
        label: segment["area"] for label, segment in expected.items()
    }
    assert [coco.area(mask) for mask in report["masks"]] == report["areas"]
    assert "nope" in report["refused"]
    if protocol == "grpc":
        assert report["server"] == "lexiseg"
        assert (report["few"], report["size"]) == (["size"], [427, 640])
        assert report["refused"].startswith("StatusCode.NOT_FOUND")


def test_cvats_sdk_takes_the_functions_spec_and_reads_its_masks(adapters: Server, photo: Path) -> None:
    report = ask_with("cvat", adapters.url, str(photo))

    classes = '["sky", {"name": "temple", "synonyms": ["building", "pagoda"]}]'
    request = f'{{"classes": {classes}, "threshold": 0.3}}'
    files: dict[str, Any] = {"image": photo.read_bytes(), "request": (None, request)}
    answer = httpx.post(f"{adapters.url}/segment", files=files, timeout=60).json()
    assert report["types"] == ["mask"]
    assert report["areas"] == {segment["label"]: segment["area"] for segment in answer["segments"]}
    assert report["polygons"] == ["sky polygon", "temple polygon"]
    assert report["sure"] == 0
