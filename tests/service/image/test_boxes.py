from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from lexiseg_service.errors import TooLarge, UndecodableImage
from lexiseg_service.image.boxes import Damaged, check_boxes
from lexiseg_service.image.header import read_header
from lexiseg_service.settings import Limits
from lexiseg_service.worker.costs.decoding import decode_cost
from tests import pictures

LIMITS = Limits()
AVIF = pictures.encoded(pictures.small("china").resize((128, 96)), "AVIF")


def places(n_items: int, n_parts: int) -> bytes:
    """An `iloc` whose parts take no byte."""
    items = b"".join(struct.pack(">HHH", number + 1, 0, n_parts) for number in range(n_items))
    return pictures.box(b"iloc", bytes(6) + struct.pack(">H", n_items) + items)


def many_properties(ipco: bytes) -> bytes:
    return pictures.box(b"ipco", ipco[8:] + 10_000 * pictures.box(b"abcd", b""))


def many_associations(ipma: bytes) -> bytes:
    items = b"".join(struct.pack(">HB", number, 0) for number in range(2, 20_000))
    return pictures.box(b"ipma", ipma[8:] + items)


@pytest.mark.parametrize(
    ("kind", "change", "said"),
    [
        pytest.param(b"iloc", lambda _: places(512, 65_535), "parts", id="millions of parts of no bytes"),
        pytest.param(b"iloc", lambda _: places(513, 1), "513 items", id="many items"),
        pytest.param(b"ipco", many_properties, "more than 4,096 boxes", id="many properties"),
        pytest.param(b"ipma", many_associations, "lists of more than", id="many associations"),
        pytest.param(b"iprp", lambda iprp: iprp + 900 * pictures.box(b"iref", bytes(20)), "lists", id="many lists"),
    ],
)
def test_an_avif_of_countless_items_is_refused_before_a_decoder_sees_it(
    kind: bytes, change: Callable[[bytes], bytes], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = pictures.with_boxes(AVIF, kind, change)
    monkeypatch.setattr("PIL.Image.open", lambda *_, **__: pytest.fail("a decoder has seen it"))

    with pytest.raises(UndecodableImage, match=said):
        read_header(image, LIMITS)


def test_boxes_without_an_end_before_the_picture_are_given_up() -> None:
    first = int.from_bytes(AVIF[:4], "big")

    with pytest.raises(Damaged, match="more than 4,096 boxes"):
        check_boxes(AVIF[:first] + 5000 * pictures.box(b"free", b"") + AVIF[first:])


def test_what_stands_behind_the_picture_may_be_cut_short() -> None:
    assert read_header(AVIF + struct.pack(">I4s", 1000, b"free"), LIMITS).size == (96, 128)


def test_lists_as_long_as_the_largest_grid_needs_are_taken() -> None:
    check_boxes(pictures.with_boxes(AVIF, b"iloc", lambda _: places(512, 4)))


def grid(n_cells: int) -> bytes:
    """The boxes of a picture that shows a strip of the same frame of 8 megapixels again and again, and that frame."""
    frame = pictures.encoded(pictures.small("china").resize((4096, 2048)), "AVIF", quality=5, speed=10)
    at = frame.index(b"mdat") + 4
    parts = b"".join(struct.pack(">HHHII", number + 1, 0, 1, 0, 0) for number in range(n_cells))
    unplaced = pictures.box(b"iloc", bytes(4) + b"\x44\0" + struct.pack(">H", n_cells) + parts)
    moved = pictures.with_size(pictures.with_boxes(frame, b"iloc", lambda _: unplaced), 64, 2048)
    at += len(moved) - len(frame)
    parts = b"".join(struct.pack(">HHHII", number + 1, 0, 1, at, len(moved) - at) for number in range(n_cells))
    return moved.replace(unplaced, pictures.box(b"iloc", bytes(4) + b"\x44\0" + struct.pack(">H", n_cells) + parts))


def test_a_frame_that_is_shown_again_and_again_counts_each_time() -> None:
    with pytest.raises(TooLarge, match="AV1 data of 67,108,864 pixels in all came for 64 x 2048"):
        read_header(grid(8), LIMITS)


def test_what_is_not_seen_of_an_avif_takes_time_too() -> None:
    strip = decode_cost((2048, 64), grid(8))

    assert strip > 0.9 * decode_cost((4096, 8192), grid(1))
