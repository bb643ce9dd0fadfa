import struct

import numpy as np
import pytest

from lexiseg_model.errors import DamagedPictureError, UnsupportedPictureError
from lexiseg_model.pictures.header import read_header
from lexiseg_model.pictures.tiff import MAX_PAGES, picture_page
from tests import pictures
from tests.model.pictures.tiffs import Order, by_hand, tiff

RGB = np.asarray(pictures.small("china").resize((40, 30)))
SMALL = np.ascontiguousarray(RGB[::2, ::2])


@pytest.mark.parametrize(
    ("subfiles", "number"),
    [((0, 1), 0), ((0, 1, 4), 0), ((1, 0), 1), ((0, 4), 0), ((1,), 0), ((2,), 0)],
    ids=["overview", "overview and mask", "thumbnail first", "mask", "one page that says it is reduced", "page of one"],
)
def test_pages_that_belong_to_another_are_no_second_picture(subfiles: tuple[int, ...], number: int) -> None:
    pages = [RGB[..., 0] > 0 if kind & 4 else SMALL if kind & 1 else RGB for kind in subfiles]

    page = picture_page(tiff(*pages, subfiles=subfiles))

    assert page.number == number
    assert page.size == pages[number].shape[:2]


@pytest.mark.parametrize("subfiles", [(0, 0), (2, 2), (0, 1, 0)])
def test_two_whole_pages_are_refused(subfiles: tuple[int, ...]) -> None:
    content = tiff(*(RGB for _ in subfiles), subfiles=subfiles, photometric="rgb")

    with pytest.raises(UnsupportedPictureError, match="many-page"):
        read_header(content)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("bigtiff", [False, True])
@pytest.mark.parametrize("orientation", [1, 6])
def test_the_header_is_read_in_both_orders_and_in_bigtiff(order: Order, bigtiff: bool, orientation: int) -> None:
    turned = [(274, "H", 1, orientation, True)]

    header = read_header(tiff(RGB, bigtiff=bigtiff, photometric="rgb", order=order, extratags=turned))

    assert (header.format, header.orientation) == ("TIFF", orientation)
    assert header.size == ((40, 30) if orientation == 6 else (30, 40))
    assert header.stored_size == (30, 40)


def test_an_endless_chain_of_pages_is_refused() -> None:
    content = by_hand(b"", {254: (1,), 256: (32,), 257: (32,)})
    loop = content[:-4] + struct.pack("<I", 8)

    with pytest.raises(UnsupportedPictureError, match=f"more than {MAX_PAGES} pages"):
        picture_page(loop)


def test_countless_tags_are_refused() -> None:
    with pytest.raises(UnsupportedPictureError, match="60000 tags"):
        picture_page(b"II*\0" + struct.pack("<IH", 8, 60_000) + bytes(12 * 60_000))


@pytest.mark.parametrize("keep", [4, 9, 20, 60])
def test_a_directory_that_is_cut_short_is_damaged(keep: int) -> None:
    with pytest.raises(DamagedPictureError, match="header is damaged"):
        picture_page(by_hand(b"", {256: (32,), 257: (32,), 258: (8,)})[:keep])
