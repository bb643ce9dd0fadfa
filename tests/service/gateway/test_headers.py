"""Of ordinary files the size is told on the event loop, of others in a thread, clients in turns."""

from __future__ import annotations

import asyncio
import threading

import pytest

from lexiseg_service.errors import TooLarge, UndecodableImage
from lexiseg_service.gateway import headers
from lexiseg_service.gateway.headers import Headers
from lexiseg_service.image import header
from lexiseg_service.settings import Limits
from tests import pictures

LIMITS = Limits()
PICTURE = pictures.small("china").resize((40, 30))
UNUSUAL = pictures.turned(PICTURE, 6, "TIFF")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
async def test_of_an_ordinary_file_it_is_told_at_once(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(headers, "read_header", lambda *_: pytest.fail("a parser has seen it"))

    telling = Headers(LIMITS).size(pictures.encoded(PICTURE, kind), "one")

    with pytest.raises(StopIteration) as told:
        telling.send(None)  # it waits for nothing
    assert told.value.value == (30, 40)
    with pytest.raises(TooLarge):
        await Headers(Limits(max_pixels=100)).size(pictures.encoded(PICTURE, kind), "one")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
async def test_of_what_is_turned_it_is_told_beside_the_loop(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[threading.Thread] = []
    read = header.read_header

    def watched(image: bytes, limits: Limits) -> object:
        threads.append(threading.current_thread())
        return read(image, limits)

    monkeypatch.setattr(headers, "read_header", watched)

    assert await Headers(LIMITS).size(pictures.turned(PICTURE, 6, kind), "one") == (40, 30)
    assert [thread is threading.current_thread() for thread in threads] == [False]


async def test_what_is_wrong_with_it_is_told_all_the_same() -> None:
    with pytest.raises(UndecodableImage, match="TIFF"):
        await Headers(LIMITS).size(b"II*\0\xff\xff\xff\xff", "one")


async def test_one_of_them_is_read_at_a_time_and_clients_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[bytes] = []
    begun, go_on = threading.Event(), threading.Event()
    read = header.read_header

    def slow(image: bytes, limits: Limits) -> object:
        begun.set()
        assert go_on.wait(20)
        order.append(image[-1:])
        return read(image, limits)

    monkeypatch.setattr(headers, "read_header", slow)
    of_all = Headers(LIMITS)
    crowd = [asyncio.ensure_future(of_all.size(UNUSUAL + b"c", "crowd")) for _ in range(4)]
    await asyncio.to_thread(begun.wait, 20)
    modest = asyncio.ensure_future(of_all.size(UNUSUAL + b"m", "modest"))
    await asyncio.sleep(0)
    go_on.set()
    await asyncio.gather(*crowd, modest)

    assert order.index(b"m") <= 2
    assert order.count(b"c") == 4
