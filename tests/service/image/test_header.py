import asyncio
import re
import struct
import threading
import time
from collections.abc import Iterator

import pytest

from lexiseg_model.pictures.header import PictureHeader
from lexiseg_service.errors import (
    DeadlineExceeded,
    InvalidValue,
    ServiceError,
    TooLarge,
    UndecodableImage,
    UnsupportedImage,
)
from lexiseg_service.image.reader import HeaderReader, image_id_of, read_header
from lexiseg_service.settings import Limits
from tests import pictures
from tests.service.gateway.known_backend import KnownBackend
from tests.service.gateway.serving import IMAGE, serving
from tests.waiting import SOON

LIMITS = Limits()


@pytest.mark.parametrize(
    ("image", "error"),
    [
        pytest.param(b"", UndecodableImage, id="empty"),
        pytest.param(b"hello, world", UnsupportedImage, id="text"),
        pytest.param(b"<svg xmlns='http://www.w3.org/2000/svg'/>", UnsupportedImage, id="svg"),
        pytest.param(b"RIFF\0\0\0\0WAVEfmt ", UnsupportedImage, id="sound in a RIFF"),
        pytest.param(pictures.encoded(pictures.small(), "GIF"), UnsupportedImage, id="gif of one frame"),
        pytest.param(pictures.animated("GIF"), UnsupportedImage, id="animated gif"),
        pytest.param(pictures.animated("PNG"), UnsupportedImage, id="animated png"),
        pytest.param(pictures.animated("WEBP"), UnsupportedImage, id="animated webp"),
        pytest.param(pictures.animated("TIFF"), UnsupportedImage, id="tiff of two pages"),
        pytest.param(pictures.animated("AVIF"), UnsupportedImage, id="animated avif"),
        pytest.param(b"\0\0\0\x18ftyphevc\0\0\0\0msf1hevc", UnsupportedImage, id="sequence of heic"),
        pytest.param(b"\0\0\0\x18ftypisom\0\0\0\0isommp42", UnsupportedImage, id="a film"),
        pytest.param(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", UndecodableImage, id="heic without a picture"),
        pytest.param(b"\0\0\0\x18ftypavif\0\0\0\0mif1avif", UndecodableImage, id="avif without a picture"),
        pytest.param(pictures.with_size(pictures.heic(pictures.small()), 50_000, 50_000), TooLarge, id="large heic"),
        pytest.param(b"\xff\xd8\xff", UndecodableImage, id="jpeg of three bytes"),
        pytest.param(b"\x89PNG\r\n\x1a\n", UndecodableImage, id="png without a header"),
        pytest.param(b"BM and nothing like it", UndecodableImage, id="text that begins like a bmp"),
        pytest.param(b"II*\x00\xff\xff\xff\xff", UndecodableImage, id="tiff whose directory is nowhere"),
        pytest.param(pictures.encoded(pictures.small().resize((1, 1))), InvalidValue, id="1 x 1"),
        pytest.param(pictures.encoded(pictures.small().resize((15, 400))), InvalidValue, id="a side too short"),
        pytest.param(pictures.png_of(50_000, 50_000), TooLarge, id="50,000 x 50,000"),
        pytest.param(pictures.png_of(0, 64), ServiceError, id="no width"),
    ],
)
def test_what_must_not_be_decoded_is_refused(image: bytes, error: type[ServiceError]) -> None:
    with pytest.raises(error, match=r"^image: "):
        read_header(image, LIMITS)


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (pictures.encoded(pictures.small(), "GIF"), "a GIF"),
        (pictures.encoded(pictures.small(), "JPEG2000"), "a JPEG 2000"),
        (b"\xff\x4f\xff\x51\x00\x2f", "a JPEG 2000"),
        (b"\x00\x00\x00\x0cJXL \r\n\x87\n", "a JPEG XL"),
        (b"\xff\x0a\xfa\x1f", "a JPEG XL"),
        (b"8BPS\x00\x01", "a Photoshop file (PSD)"),
        (b"v/1\x01\x02\x00\x00\x00", "an OpenEXR file"),
        (bytes(128) + b"DICM\x02\x00", "a DICOM file"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG drawing"),
        (b"\xef\xbb\xbf<?xml version='1.0'?>\n<!-- made -->\n<svg:svg width='1'>", "an SVG drawing"),
        (b"\n <!DOCTYPE html>\n<html lang=en><title>Sign in</title>", "an HTML page"),
        (b"<HTML><BODY>404</BODY>", "an HTML page"),
    ],
)
def test_what_came_in_place_of_a_picture_is_named(content: bytes, name: str) -> None:
    with pytest.raises(UnsupportedImage, match=re.escape(f"image: {name}")):
        read_header(content, LIMITS)


def test_no_pixel_of_a_png_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[object] = []
    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", lambda png: decoded.append(png))

    assert read_header(pictures.encoded(pictures.small().resize((40, 30))), LIMITS).size == (30, 40)
    assert decoded == []


def places_of_items(n_items: int, n_extents: int) -> bytes:
    """An `iloc` box whose extents have no bytes."""
    items = b"".join(struct.pack(">HHH", number + 1, 0, n_extents) for number in range(n_items))
    return pictures.box(b"iloc", bytes(6) + struct.pack(">H", n_items) + items)


@pytest.mark.parametrize(("n_items", "n_extents"), [(512, 65_535), (65_000, 1)])
def test_an_avif_of_countless_items_is_refused_by_the_decoders_own_limits(n_items: int, n_extents: int) -> None:
    image = pictures.encoded(pictures.small("china").resize((128, 96)), "AVIF")

    with pytest.raises(UndecodableImage, match="header is damaged"):
        read_header(pictures.with_boxes(image, b"iloc", lambda _: places_of_items(n_items, n_extents)), LIMITS)


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
    own = [asyncio.ensure_future(reader.identify(b"own", "one", deadline)) for _ in range(6)]
    while len(gate.begun) < 2:
        await asyncio.sleep(0.001)
    other = asyncio.ensure_future(reader.identify(b"other", "two", deadline))
    while len(reader._threads.waits) < 5:
        await asyncio.sleep(0.001)
    gate.open.set()

    assert [header for header, _ in await asyncio.gather(*own, other)] == [HEADER] * 7
    assert gate.begun[2] == b"other"


async def test_the_deadline_passes_while_a_header_is_read(gate: Gate) -> None:
    with pytest.raises(DeadlineExceeded):
        await HeaderReader(Limits()).identify(b"", "one", time.monotonic())


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
