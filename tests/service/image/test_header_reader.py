"""Headers of images, read fairly between clients and within the deadline."""

import asyncio
import threading
import time
from collections.abc import Iterator

import pytest

from lexiseg_model.pictures.header import PictureHeader
from lexiseg_service.errors import DeadlineExceeded, UndecodableImage
from lexiseg_service.image.reader import HeaderReader, image_id_of
from lexiseg_service.settings import Limits
from tests import pictures
from tests.service.gateway.known_backend import KnownBackend
from tests.service.gateway.serving import IMAGE, serving
from tests.waiting import SOON

HEADER = PictureHeader("PNG", (16, 16))


class Gate:
    """In place of the parser: files wait at it, in the order in which they are read."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.begun: list[bytes] = []

    def read(self, image: bytes, limits: Limits) -> PictureHeader:
        self.begun.append(image)
        assert self.open.wait(SOON)
        return HEADER


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    gate = Gate()
    monkeypatch.setattr("lexiseg_service.image.reader.read_header", gate.read)
    yield gate
    gate.open.set()


async def test_another_client_does_not_wait_behind_all_images_of_one(gate: Gate) -> None:
    reader, deadline = HeaderReader(Limits()), time.monotonic() + SOON
    own = [asyncio.ensure_future(reader.read(b"own", "one", deadline)) for _ in range(6)]
    while len(gate.begun) < 2:
        await asyncio.sleep(0.001)
    other = asyncio.ensure_future(reader.read(b"other", "two", deadline))
    while len(reader._threads.waits) < 5:
        await asyncio.sleep(0.001)
    gate.open.set()

    assert await asyncio.gather(*own, other) == [HEADER] * 7
    assert gate.begun[2] == b"other"


async def test_the_deadline_passes_while_a_header_is_read(gate: Gate) -> None:
    with pytest.raises(DeadlineExceeded):
        await HeaderReader(Limits()).read(b"", "one", time.monotonic())


async def test_a_refusal_of_the_parser_is_the_reader_s() -> None:
    with pytest.raises(UndecodableImage):
        await HeaderReader(Limits()).read(b"", "one", time.monotonic() + SOON)


async def test_the_worker_gets_the_header_and_the_id_that_the_gateway_has_read() -> None:
    backend = KnownBackend()
    async with serving(backend=backend) as client:
        await client.post("/segment", files=IMAGE, data={"classes": "red"})

    height, width = pictures.small().size[::-1]
    asked = backend.asked[-1]
    assert asked.header == PictureHeader("PNG", (height, width))
    assert asked.image_id == image_id_of(asked.image or b"")


async def test_a_picture_of_countless_chunks_is_refused_in_words() -> None:
    image = pictures.png_of(64, 64, *[pictures.png_chunk(b"prVt", b"")] * 10_000)
    async with serving() as client:
        answer = await client.post("/segment?classes=red", content=image, headers={"content-type": "image/png"})

    assert answer.status_code == 422
    assert "more than 8,192 chunks" in answer.json()["detail"]
