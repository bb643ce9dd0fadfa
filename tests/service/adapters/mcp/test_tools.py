"""The tools, and the pictures and files of their answers as resources."""

import base64
import io
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mcp.client import Client
from mcp.shared.exceptions import MCPError
from mcp.types import BlobResourceContents, CallToolResult, ImageContent, TextContent
from PIL import Image

from lexiseg_service.adapters.mcp import create
from lexiseg_service.adapters.mcp.tools import ToolService
from lexiseg_service.gateway.admission.access import Caller
from lexiseg_service.gateway.app import create_app
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics
from tests import pictures
from tests.model.stand_in import ColourSegmenter
from tests.service.adapters.asking import HEIGHT, PICTURE, SQUARE, TASKS, WIDTH
from tests.service.engine_backend import EngineBackend
from tests.waiting import SOON


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "inside"
    folder.mkdir()
    (folder / "a.png").write_bytes(PICTURE)
    (tmp_path / "secret.png").write_bytes(PICTURE)
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    (folder / "circle.png").symlink_to("circle.png")
    return folder


@asynccontextmanager
async def talking(folder: Path | None, key: Callable[[], str] = lambda: "test", **values: Any) -> AsyncIterator[Client]:
    """A client of the tools over a real engine, whose calls come with a key."""
    settings, engine = Settings(model="colours", **values), EngineBackend(ColourSegmenter(tasks=TASKS))
    app = create_app(settings, engine, Metrics())
    tools = ToolService(app.state.use_case, settings, folder, lambda _: Caller(client=key(), owner=key()))
    try:
        async with Client(create(tools)) as client:
            yield client
    finally:
        engine.engine.close(SOON)


async def told(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    """The structured answer of a tool."""
    answer = await client.call_tool(tool, arguments)
    assert isinstance(answer, CallToolResult)
    assert not answer.is_error, answer.content
    content: dict[str, Any] = answer.structured_content
    return content


async def refused(client: Client, tool: str, **arguments: Any) -> str:
    """Why a tool refuses."""
    answer = await client.call_tool(tool, arguments)
    assert isinstance(answer, CallToolResult)
    assert answer.is_error
    (said,) = answer.content
    assert isinstance(said, TextContent)
    return said.text


def picture_in(answer: Any) -> Image.Image:
    (image,) = [block for block in answer.content if isinstance(block, ImageContent)]
    return Image.open(io.BytesIO(base64.b64decode(image.data)))


async def test_each_tool_says_what_it_answers_with(folder: Path) -> None:
    async with talking(folder) as client:
        schemas = {tool.name: tool.output_schema or {} for tool in (await client.list_tools()).tools}
        table = await told(client, "find", image="a.png", words=["red"])  # the client compares it with the schema

        assert schemas.keys() == {"list_models", "segment", "find", "cut_out"}
        assert all(schemas.values())
        assert schemas["find"]["required"] == list(table)
        assert schemas["find"]["$defs"]["SegmentRow"]["properties"]["area"]["description"] == "pixels"


async def test_segment_tells_numbers_and_shows_the_picture(folder: Path) -> None:
    async with talking(folder) as client:
        answer = await client.call_tool("segment", {"image": "a.png", "words": ["red", "blue", "green"]})

        assert isinstance(answer, CallToolResult)
        content = answer.structured_content
        assert [(one["label"], one["area"]) for one in content["segments"]] == [("red", SQUARE), ("blue", SQUARE)]
        assert content["absent"] == ["green"]
        assert content["segments"][0]["percent"] == round(100 * SQUARE / (HEIGHT * WIDTH), 3)
        assert picture_in(answer).size == (WIDTH, HEIGHT)


async def test_a_picture_is_asked_about_again_by_its_id(folder: Path) -> None:
    async with talking(folder) as client:
        first = await told(client, "segment", image="a.png", words=["red"])

        second = await told(client, "find", image=first["image"], words=["blue"])

        assert second["segments"][0]["box"] == [32, 0, 16, 16]
        assert second["segments"][0]["centre"] == [40, 8]


async def test_an_empty_model_is_the_default(folder: Path) -> None:
    async with talking(folder) as client:
        assert len((await told(client, "find", image="a.png", words=["red"], model=""))["segments"]) == 1


@pytest.mark.parametrize("what", [{"word": "blue"}, {"points": [{"x": 40, "y": 4}]}, {"box": [30, 0, 48, 18]}])
async def test_what_is_cut_out_is_transparent_around_it(folder: Path, what: dict[str, Any]) -> None:
    async with talking(folder) as client:
        answer = await client.call_tool("cut_out", {"image": "a.png", **what})

        pixels = np.asarray(picture_in(answer))
        assert pixels.shape == (16, 16, 4)
        assert pixels.reshape(-1, 4).tolist() == [[0, 0, 255, 255]] * SQUARE


async def test_a_cut_out_is_of_the_picture_that_the_service_sees(folder: Path) -> None:
    with Image.open(io.BytesIO(PICTURE)) as picture:
        (folder / "a.png").write_bytes(pictures.turned_by_xmp(picture, 3))

    async with talking(folder) as client:
        answer = await client.call_tool("cut_out", {"image": "a.png", "word": "blue"})

        assert np.asarray(picture_in(answer)).reshape(-1, 4).tolist() == [[0, 0, 255, 255]] * SQUARE


def grainy(size: tuple[int, int]) -> bytes:
    """A red picture that no format packs well."""
    pixels = np.random.default_rng(0).integers(0, 64, (*size[::-1], 3), np.uint8)
    pixels[..., 0] |= 192
    return pictures.encoded(Image.fromarray(pixels))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tool", "asked", "size"),
    [
        ("segment", {"words": ["red", "blue"]}, (1920, 1080)),
        ("cut_out", {"word": "red"}, (810, 1080)),
        ("cut_out", {"word": "red"}, (2100, 800)),  # wider than what is shown, and too many bytes at that width
    ],
)
async def test_an_answer_fits_into_a_message_of_a_chat(
    tmp_path: Path, tool: str, asked: dict[str, Any], size: tuple[int, int]
) -> None:
    (tmp_path / "a.png").write_bytes(grainy(size))
    keys = ["mine"]
    async with talking(
        tmp_path, key=lambda: keys[-1], limits={"max_image_bytes": 2**26}, deadline_seconds=60
    ) as client:
        answer = await client.call_tool(tool, {"image": "a.png", **asked})

        assert len(answer.model_dump_json(by_alias=True)) < 2**20
        assert isinstance(answer, CallToolResult)
        file = answer.structured_content["file"]
        (whole,) = (await client.read_resource(file)).contents
        assert isinstance(whole, BlobResourceContents)
        shown, full = picture_in(answer), Image.open(io.BytesIO(base64.b64decode(whole.blob)))
        assert (shown.format, full.format, whole.mime_type) == ("WEBP", "PNG", "image/png")
        assert 400 < shown.size[0] <= full.size[0]
        assert shown.size[0] < min(2048, size[0] + 1)
        keys.append("theirs")
        with pytest.raises(MCPError, match="no file of this name is kept for this key"):
            await client.read_resource(file)


@pytest.mark.parametrize(
    "path", ["../secret.png", "link.png", "circle.png", "nothing.png", "/etc/passwd", "a\0.png", "."]
)
async def test_nothing_outside_the_folder_is_read(folder: Path, path: str) -> None:
    async with talking(folder) as client:
        assert "expected a picture in" in await refused(client, "segment", image=path, words=["red"])


@pytest.mark.parametrize(
    ("settings", "image", "said"),
    [
        ({}, "https://example.org/a.png", "LEXISEG_URL_NETWORKS names no host"),
        ({"folder": None}, "a.png", "LEXISEG_MCP_FOLDER"),
        ({"limits": {"max_image_bytes": len(PICTURE) - 1}}, "a.png", "at most"),
        ({"deadline_seconds": 1e-6}, "a.png", "deadline"),
    ],
    ids=["a URL", "no folder", "too large", "too late"],
)
@pytest.mark.parametrize("tool", ["segment", "find"])
async def test_a_picture_that_is_not_answered_is_an_error_of_the_tool(
    folder: Path, tool: str, settings: dict[str, Any], image: str, said: str
) -> None:
    async with talking(**{"folder": folder, **settings}) as client:
        assert said in await refused(client, tool, image=image, words=["red"])


async def uris(client: Client) -> list[str]:
    return [one.uri for one in (await client.list_resources()).resources if one.mime_type == "image/jpeg"]


async def shown(client: Client, uri: str) -> Image.Image:
    (content,) = (await client.read_resource(uri)).contents
    assert isinstance(content, BlobResourceContents)
    assert content.mime_type == "image/jpeg"
    return Image.open(io.BytesIO(base64.b64decode(content.blob)))


async def test_pictures_of_answers_are_listed_the_last_first_and_read(folder: Path) -> None:
    (folder / "b.png").write_bytes(pictures.encoded(Image.new("RGB", (32, 16), "red")))
    async with talking(folder) as client:
        before = await uris(client)
        names = [(await told(client, "find", image=name, words=["red"]))["image"] for name in ("a.png", "b.png")]

        listed = await uris(client)

        assert before == []
        assert listed == [f"lexiseg://pictures/{name.removeprefix('id:')}" for name in reversed(names)]
        assert [(await shown(client, uri)).size for uri in listed] == [(32, 16), (WIDTH, HEIGHT)]


async def test_a_picture_of_another_key_is_neither_listed_nor_read(folder: Path) -> None:
    keys = ["mine"]
    async with talking(folder, key=lambda: keys[-1]) as client:
        await told(client, "find", image="a.png", words=["red"])
        (uri,) = await uris(client)
        keys.append("theirs")

        listed = await uris(client)
        with pytest.raises(MCPError, match="no picture of this id is kept for this key"):
            await shown(client, uri)

        assert listed == []


@pytest.mark.parametrize("name", ["unknown", "..%2Fsecret.png", "%2Fetc%2Fpasswd", "a/b"])
async def test_a_name_that_is_no_pictures_is_refused(folder: Path, name: str) -> None:
    async with talking(folder) as client:
        with pytest.raises(MCPError) as refusal:
            await shown(client, f"lexiseg://pictures/{name}")

        assert refusal.value.error.code == -32602
