import struct

import numpy as np
import pytest

from lexiseg_model.errors import DamagedPictureError, UnsupportedPictureError
from lexiseg_model.pictures.header import read_header
from lexiseg_model.pictures.tiff import MAX_PAGES, picture_page
from tests import pictures
from tests.model.pictures.tiffs import Order, by_hand, tiff, with_beneath

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


CFA = np.zeros(RGB.shape[:2], np.uint16)
OF_DNG = [(50706, "B", 4, (1, 4, 0, 0), True)]


@pytest.mark.parametrize("kind", [0, 1], ids=["a page", "a page that says it is reduced"])
@pytest.mark.parametrize("bigtiff", [False, True])
def test_a_sensors_values_beneath_a_preview_are_a_cameras_raw_file(kind: int, bigtiff: bool) -> None:
    content = with_beneath(SMALL, SMALL, CFA, kinds=(kind, 1, 0), bigtiff=bigtiff)

    with pytest.raises(UnsupportedPictureError, match="a camera's raw file"):
        read_header(content)


@pytest.mark.parametrize(
    "content",
    [
        tiff(SMALL, RGB, subfiles=(1, 0), photometric="rgb", extratags=OF_DNG),
        tiff(CFA, photometric="cfa"),
        tiff(np.dstack([CFA] * 3), photometric=34892),
        tiff(RGB, photometric="rgb", extratags=OF_DNG),
        b"II*\0\x10\0\0\0CR\x02\0" + tiff(RGB, photometric="rgb")[12:],
        b"IIRO\x08\0\0\0",
        b"IIU\0\x18\0\0\0",
        b"FUJIFILMCCD-RAW 0201",
        b"FOVb\0\0\2\0",
        b"\0MRM\0\0\0\0",
        b"\0\0\0\x18ftypcrx \0\0\0\1crx isom",
    ],
    ids=["DNG behind a preview", "alone", "linear", "DNG", "CR2", "ORF", "RW2", "RAF", "X3F", "MRW", "CR3"],
)
def test_raw_files_of_cameras_are_named(content: bytes) -> None:
    with pytest.raises(UnsupportedPictureError, match="a camera's raw file"):
        read_header(content)


@pytest.mark.parametrize("kind", [0, 1])
def test_a_preview_of_what_lies_beneath_it_is_refused_with_both_sizes(kind: int) -> None:
    content = with_beneath(SMALL, RGB, kinds=(kind, 0))

    with pytest.raises(UnsupportedPictureError, match="20 x 15 pixels is the preview of one of 40 x 30"):
        read_header(content)


def test_a_page_with_smaller_copies_beneath_it_is_the_picture() -> None:
    content = with_beneath(RGB, SMALL, SMALL, kinds=(0, 1, 1))

    assert read_header(content).size == (30, 40)


def test_a_directory_beneath_that_cannot_be_read_or_leads_back_takes_nothing_from_the_picture() -> None:
    content = by_hand(b"", {256: (32,), 257: (32,), 258: (8,), 330: (8,)})

    assert picture_page(content).size == (32, 32)
    assert picture_page(content.replace(struct.pack("<HHII", 330, 4, 1, 8), struct.pack("<HHII", 330, 4, 1, 1 << 31)))


def test_of_reduced_pages_alone_the_largest_is_the_picture() -> None:
    assert read_header(tiff(SMALL, RGB, subfiles=(1, 1), photometric="rgb")).size == (30, 40)
