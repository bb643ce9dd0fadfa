"""Programs of other tools, started as their users start them, ask a real server."""

import importlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.command import ended
from tests.integration.adapters.rig.installed import program
from tests.integration.server import ROOT, Server

pytestmark = pytest.mark.tools

CLIENTS = ROOT / "tests/integration/adapters/clients"


def said(*command: object) -> str:
    answer = ended([str(word) for word in command])
    assert answer.returncode == 0, answer.stdout[-2000:] + answer.stderr[-2000:]
    return answer.stdout


def display() -> list[str]:
    """The command that gives another one a display."""
    command = shutil.which("xvfb-run")
    if command is None:
        pytest.skip("there is no xvfb-run; `make tools` installs it")
    return [command, "-a"]


def test_labelmes_window_draws_the_polygons_of_typed_words(server: Server, photo: Path, tmp_path: Path) -> None:
    python = program("labelme", "python")

    said(*display(), python, CLIENTS / "labelme_window.py", server.url, photo, tmp_path / "china.json")

    shapes = json.loads((tmp_path / "china.json").read_text())["shapes"]
    assert {(shape["label"], shape["shape_type"]) for shape in shapes} == {("sky", "polygon"), ("building", "polygon")}


def test_naparis_widget_asks_words_and_points_and_a_plane_of_a_stack(
    server: Server, photo: Path, tmp_path: Path
) -> None:
    python = program("napari", "python")

    said(*display(), python, CLIENTS / "napari_window.py", server.url, photo, tmp_path / "layers.json")

    words, point, plane = json.loads((tmp_path / "layers.json").read_text())
    assert words["labels"] == plane["labels"] == ["", "sky", "building"]
    assert min(words["pixels"]) > 10_000
    assert point["pixels"][1] > 10_000
    assert [layer["scale"] for layer in (words, point, plane)] == [[0.5, 0.5]] * 3


def test_fiftyones_zoo_loads_the_model_of_words(server: Server, photo: Path, tmp_path: Path) -> None:
    python = program("fiftyone", "python")
    environment = {"FIFTYONE_DISABLE_SERVICES": "1", "FIFTYONE_DO_NOT_TRACK": "1"}

    said("env", *map("=".join, environment.items()), python, CLIENTS / "fiftyone_model.py", server.url, photo, tmp_path)

    found, *counts = json.loads((tmp_path / "found.json").read_text())
    assert {label for label, *_ in found} == {"sky", "building"}
    assert counts[0] == len(found)
    assert counts[1] >= 1


def test_the_inspector_of_mcp_lists_and_calls_tools(photo: Path, tmp_path: Path) -> None:
    inspector = program("inspector", "mcp-inspector")
    with Server(tmp_path / "log", LEXISEG_ADAPTERS="mcp", LEXISEG_MCP_FOLDER=str(photo.parent)) as server:
        command = [inspector, "--cli", f"{server.url}/mcp", "--transport", "http", "--method"]
        tools = json.loads(said(*command, "tools/list"))["tools"]
        arguments = ["--tool-name", "find", "--tool-arg", f"image={photo.name}", "--tool-arg", 'words=["building"]']
        found = json.loads(said(*command, "tools/call", *arguments))

    assert {"segment", "find", "cut_out", "list_models"} <= {tool["name"] for tool in tools}
    assert [one["label"] for one in found["structuredContent"]["segments"]] == ["building"]


def test_the_client_of_openapi_generator_asks_and_reads_refusals(
    server: Server, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator, package = program("generator", "openapi-generator-cli"), "lexiseg_by_openapi_generator"
    options = ["-g", "python", "-i", ROOT / "proto/openapi.json", "-o", tmp_path, "--package-name", package]
    said(generator, "generate", *options)
    monkeypatch.syspath_prepend(tmp_path)
    generated: Any = importlib.import_module(package)

    with generated.ApiClient(generated.Configuration(host=server.url)) as client:
        answer = generated.SegmentationApi(client).segment(
            image=(photo.name, photo.read_bytes()), classes2=["sky", "building"], _content_type="multipart/form-data"
        )
        with pytest.raises(generated.ApiException) as refused:
            generated.VocabulariesApi(client).get_vocabulary("nowhere")

    assert {segment.label for segment in answer.segments} == {"sky", "building"}
    assert (refused.value.status, refused.value.data.status) == (404, 404)
