import base64
import io
from pathlib import Path

import numpy as np
import pytest
from mcp.client import Client
from mcp.shared.exceptions import MCPError
from mcp.types import BlobResourceContents
from PIL import Image

from tests import pictures
from tests.service.adapters.asking import HEIGHT, PICTURE, WIDTH
from tests.service.adapters.mcp.talking import talking, told


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


async def test_a_picture_is_as_the_service_sees_it(folder: Path) -> None:
    with Image.open(io.BytesIO(PICTURE)) as picture:
        (folder / "a.png").write_bytes(pictures.turned_by_xmp(picture, 3))
    async with talking(folder) as client:
        await told(client, "find", image="a.png", words=["red"])

        (uri,) = await uris(client)

        box = (await told(client, "find", image="id:" + uri.rpartition("/")[2], words=["red"]))["segments"][0]["centre"]
        red, _, blue = np.asarray(await shown(client, uri))[int(box[1]), int(box[0])]
        assert red > 200 > 50 > blue


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
