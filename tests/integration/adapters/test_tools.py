"""The tools' own clients ask a real server; what they read is what `POST /segment` says."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from httpx2 import AsyncClient, Headers
from huggingface_hub import InferenceClient
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CallToolResult
from PIL import Image

from lexiseg_service.gateway.admission.key_file import line_of, new_key
from tests.integration.adapters.tools import ask_with
from tests.integration.server import ROOT, Server, form

pytestmark = pytest.mark.tools

WORDS = ("sky", "building")


def segments(server: Server, photo: Path, *words: str, **fields: Any) -> dict[str, dict[str, Any]]:
    """By label, as the service's own route says them."""
    answer = httpx.post(f"{server.url}/segment", files=form(photo.read_bytes(), *words, **fields), timeout=60)
    answer.raise_for_status()
    return {segment["label"]: segment for segment in answer.json()["segments"]}


def test_label_studio_finds_nothing_wrong_and_reads_the_masks(server: Server, photo: Path) -> None:
    reports = ask_with("label_studio", f"{server.url}/adapters/label-studio", str(photo))

    assert {name: report["wrong"] for name, report in reports.items()} == {"brush": [], "polygon": [], "click": []}
    assert reports["brush"]["labels"] == reports["polygon"]["labels"] == ["Sky", "Temple"]
    assert reports["click"]["labels"] == ["Temple"]
    answer = httpx.post(
        f"{server.url}/segment",
        files={
            "image": photo.read_bytes(),
            "request": (None, '{"classes": [{"name": "Temple", "synonyms": ["building", "pagoda"]}, "Sky"]}'),
        },
        timeout=60,
    ).json()
    assert reports["brush"]["areas"] == [segment["area"] for segment in answer["segments"]]


def test_hugging_faces_client_reads_masks(server: Server, photo: Path) -> None:
    url = f"{server.url}/adapters/hugging-face?classes=sky&classes=building"

    expected = segments(server, photo, *WORDS)
    between = sum(segment["score"] for segment in expected.values()) / 2

    plain = InferenceClient(token="none-needed").image_segmentation(photo, model=url)
    chosen = InferenceClient(token="none-needed").image_segmentation(photo, model=url, threshold=between)

    areas = {element.label: int((np.asarray(element.mask) == 255).sum()) for element in plain}
    assert areas == {label: segment["area"] for label, segment in expected.items()}
    boxes = InferenceClient(token="none-needed").object_detection(photo, model=url)
    assert {(each.label, each.box.xmin, each.box.ymax - each.box.ymin) for each in boxes} == {
        (label, segment["bbox"][0], segment["bbox"][3]) for label, segment in expected.items()
    }
    assert {element.label for element in chosen} == {max(expected, key=lambda label: expected[label]["score"])}


CLICK = {"points": [{"x": 200, "y": 60, "positive": True}]}
BESIDE = {"points": [*CLICK["points"], {"x": 600, "y": 400, "positive": False}]}
BOX = {"box": [70, 30, 350, 410]}


@pytest.mark.parametrize("kind", ["polygon", "rle"])
def test_inference_sdk_reads_each_words_masks(server: Server, photo: Path, kind: str) -> None:
    answer = ask_with("roboflow", f"{server.url}/adapters/roboflow", str(photo), kind)

    by_word = {result["echo"]["text"]: result["predictions"] for result in answer["concept"]["prompt_results"]}
    (clicked,) = answer["visual"]["predictions"]
    by_id = {"image_id": answer["embedded"], "prompts": [CLICK], "format": kind}
    again = httpx.post(f"{server.url}/adapters/roboflow/sam3/visual_segment", json=by_id, timeout=60).json()
    assert again["predictions"] == [clicked]
    assert (clicked["format"], bool(clicked["masks"])) == (kind, True)
    assert answer["models"] == ["tiny", "tiny/1"]
    assert {each["class"] for each in answer["inferred"]["predictions"]} == {*WORDS}
    assert all(each["points" if kind == "polygon" else "rle"] for each in answer["inferred"]["predictions"])
    assert "404" in answer["refused"]
    assert set(by_word) == {*WORDS, None}
    assert by_word[None]
    assert {prediction["format"] for found in by_word.values() for prediction in found} == {kind}
    assert min(prediction["confidence"] for found in by_word.values() for prediction in found) >= 0.2


@pytest.fixture(scope="module")
def cvat(server: Server, photo: Path) -> dict[str, Any]:
    """What CVAT's SDK reports of all its functions."""
    report: dict[str, Any] = ask_with("cvat", server.url, str(photo))
    return report


def test_cvats_sdk_takes_the_functions_spec_and_reads_its_masks(
    server: Server, photo: Path, cvat: dict[str, Any]
) -> None:
    assert [sentence.count("zyzzyva") for sentence in cvat["warned"]] == [1]
    classes = '["sky", {"name": "temple", "synonyms": ["building", "pagoda"]}]'
    request = f'{{"classes": {classes}, "task": "panoptic", "threshold": 0.3}}'
    files: dict[str, Any] = {"image": photo.read_bytes(), "request": (None, request)}
    answer = httpx.post(f"{server.url}/segment", files=files, timeout=60).json()
    assert cvat["types"] == ["mask"]
    assert cvat["areas"] == {segment["label"]: segment["area"] for segment in answer["segments"]}
    assert cvat["polygons"] == ["sky polygon", "temple polygon"]
    assert cvat["sure"] == sum(segment["score"] >= 0.999 for segment in answer["segments"])
    assert cvat["nothing"] == 0
    assert [sentence.count("expected") for sentence in cvat["refused"]] == [1, 1]


def area_of(server: Server, photo: Path, prompt: dict[str, Any]) -> int:
    """Pixels of a prompt's best mask, as the service's own route says them."""
    files: Any = {"image": photo.read_bytes(), "request": (None, json.dumps({"prompts": [prompt]}))}
    answer = httpx.post(f"{server.url}/segment", files=files, timeout=60)
    area: int = answer.raise_for_status().json()["segments"][0]["area"]
    return area


def test_cvats_sdk_takes_the_interactor_and_reads_its_masks(server: Server, photo: Path, cvat: dict[str, Any]) -> None:
    areas = [area_of(server, photo, prompt) for prompt in (CLICK, BESIDE, BOX)]

    assert [cvat[name] for name in ("clicked", "corrected", "boxed")] == areas


def test_a_task_of_cvat_teaches_a_head_that_its_other_pictures_are_asked_with(server: Server, tmp_path: Path) -> None:
    corners = {}
    for number in range(9):  # a red square on noise, in each elsewhere
        left, top = 10 * number, 5 * number
        pixels = np.random.default_rng(number).integers(90, 150, (96, 128, 3), np.uint8)
        pixels[top : top + 40, left : left + 40] = 220, 30, 30
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        corners[f"{number}.png"] = [left, top, left + 40, top + 40]
    corners.pop("4.png")
    (tmp_path / "labels.json").write_text(json.dumps(corners))

    report = ask_with("cvat_teaches", server.url, str(tmp_path))

    assert (report["pictures"], report["keys"]) == (8, [f"images/{name}" for name in corners])
    assert [name for name, areas in report["areas"].items() if areas] == ["4.png"]  # the others have labels already
    assert report["areas"]["4.png"]["gadget"] == pytest.approx(1600, rel=0.4)
    exported = "/api/tasks/12/dataset/export?format=CVAT+for+images+1.1&save_images=True"
    assert report["asked"].count(exported) == 3
    assert (report["refused"].partition(":")[0], report["stays"]) == ("InvalidValue", True)


def test_labelmes_session_finds_the_server_through_osam(server: Server, photo: Path) -> None:
    report = ask_with("labelme_asks", server.url, str(photo))

    assert report["downloaded"]
    assert report["click"]["area"] == area_of(server, photo, CLICK)
    assert report["box"]["area"] == area_of(server, photo, BOX)
    assert report["labels"] == [0, 1]  # both words, the second typed with a blank before it
    assert min(report["areas"]) > 0
    assert all(0 < score <= 1 for score in report["scores"])
    assert "at least 16" in report["refused"]
    assert report["empty"] == [True, True]
    assert ["at least 16" in report["told"][0], "zyzzyva" in report["told"][1]] == [True, True]


async def asked(client: Client, photo: str) -> dict[str, Any]:
    answer = await client.call_tool("segment", {"image": photo, "words": ["sky", "building"]})
    assert isinstance(answer, CallToolResult)
    assert not answer.is_error, answer.content
    return {segment["label"]: segment for segment in answer.structured_content["segments"]}


async def test_standard_input_and_output_are_the_protocols_alone(photo: Path, tmp_path: Path) -> None:
    arguments = ["-m", "lexiseg_service.cli", "mcp", "--mcp-folder", str(photo.parent)]
    started = StdioServerParameters(command=sys.executable, args=arguments, cwd=ROOT, env=dict(os.environ))
    with (tmp_path / "log.jsonl").open("w") as log:
        async with Client(stdio_client(started, errlog=log)) as client:
            measured = await asked(client, photo.name)

    assert measured["sky"]["percent"] > 20
    assert measured["building"]["percent"] > 5


async def test_streamable_http_asks_for_a_key_like_every_route(photo: Path, tmp_path: Path) -> None:
    key = new_key()
    settings = {
        "LEXISEG_ADAPTERS": "mcp",
        "LEXISEG_MCP_FOLDER": str(photo.parent),
        "LEXISEG_API_KEYS": line_of("agent", key),
    }
    with Server(tmp_path / "log.jsonl", **settings) as running:
        async with (
            AsyncClient(headers=Headers({"Authorization": f"Bearer {key}"})) as http,
            Client(streamable_http_client(f"{running.url}/mcp", http_client=http)) as client,
        ):
            measured = await asked(client, photo.name)
        with pytest.raises(BaseExceptionGroup):
            async with Client(f"{running.url}/mcp") as stranger:
                await stranger.list_tools()

    assert measured["sky"]["percent"] > 20
