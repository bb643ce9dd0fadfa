"""What a file is expected to take, from what can be seen of it without decoding it."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lexiseg_service.image.jpeg_scans import FAR, passes_of
from lexiseg_service.worker.costs.decoding import decode_cost
from tests import pictures

SIZE = (1200, 1600)


def noise() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)


def encoded(kind: str, pixels: NDArray[np.uint8] | None = None, mode: str = "RGB", **how: int | str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.zeros((*SIZE, 3), np.uint8) if pixels is None else pixels).convert(mode).save(file, kind, **how)
    return file.getvalue()


def test_a_jpeg_costs_less_where_a_smaller_one_will_do() -> None:
    file = encoded("JPEG")

    whole, smaller, kept = (
        decode_cost(SIZE, file),
        decode_cost(SIZE, file, shortest=576),
        decode_cost(SIZE, file, shortest=576, whole=True),
    )

    assert smaller < whole / 2 < kept / 2
    assert kept > decode_cost(SIZE, file, shortest=2000)  # and none is enlarged


def test_a_long_strip_is_not_decoded_smaller() -> None:
    assert decode_cost((1000, 40_000), shortest=576) > 5 * decode_cost((5120, 7680), shortest=576)


def test_bytes_cost_beside_pixels() -> None:
    for kind in ("JPEG", "PNG", "WEBP"):
        assert decode_cost(SIZE, encoded(kind, noise())) > 1.1 * decode_cost(SIZE, encoded(kind))


def test_what_no_decoder_makes_smaller_costs_all_of_it() -> None:
    plain = decode_cost(SIZE, encoded("JPEG"), shortest=576)

    files = (encoded("PNG"), encoded("WEBP"), encoded("BMP"), encoded("JPEG", progressive=True))
    of_four_colours = encoded("JPEG", mode="CMYK")

    for file in (*files, of_four_colours, b"\0\0\0\x1cftypavif"):
        assert decode_cost(SIZE, file, shortest=576) > 5 * plain


def test_each_scan_of_a_jpeg_costs() -> None:
    few, many = (pictures.painted_over(1600, 1200, n_scans) for n_scans in (3, 90))
    once = encoded("JPEG", progressive=True)

    assert decode_cost(SIZE, many) > 20 * decode_cost(SIZE, few)
    assert decode_cost(SIZE, few) < 2 * decode_cost(SIZE, once) < decode_cost(SIZE, many) / 5
    # A preview of its own size among the metadata is one pass more, and bytes that only look so are none.
    assert decode_cost(SIZE, many[:2] + b"\xff\xfe\x00\x06\xff\xda\x00\x00" + many[2:]) < 1.1 * decode_cost(SIZE, many)


def test_a_scan_of_a_colour_that_is_stored_smaller_costs_less() -> None:
    dense, sparse = (encoded("JPEG", noise(), progressive=True, subsampling=how, quality=5) for how in (0, 2))

    dense_passes, sparse_passes = passes_of(dense, 100), passes_of(sparse, 100)

    assert sparse_passes.refining < dense_passes.refining
    assert sparse_passes.reading < dense_passes.reading
    assert passes_of(b"\xff\xd8\xff\xda", 100) == (0, 0, 0)


def test_nobody_looks_for_scans_far_behind_the_last() -> None:
    file = encoded("JPEG", progressive=True)
    looks_like_one = b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00"

    assert passes_of(file + looks_like_one, 100).reading > passes_of(file, 100).reading
    assert passes_of(file + bytes(FAR) + looks_like_one, 100) == passes_of(file, 100)


def test_what_is_laid_over_white_or_stored_deeper_costs_more() -> None:
    plain, deep = encoded("PNG"), pictures.png_of(*SIZE[::-1])
    alpha, palette = encoded("PNG", mode="RGBA"), encoded("PNG", mode="P")
    with_transparency = encoded("PNG", mode="P", transparency=0)
    assert decode_cost(SIZE, deep) < decode_cost(SIZE, palette) < decode_cost(SIZE, plain) < decode_cost(SIZE, alpha)
    assert decode_cost(SIZE, with_transparency) > 1.5 * decode_cost(SIZE, palette)

    glass = np.zeros((*SIZE, 4), np.uint8)
    opaque, see_through = encoded("WEBP"), encoded("WEBP", glass, mode="RGBA")
    assert decode_cost(SIZE, opaque) < decode_cost(SIZE, see_through)


def test_each_strip_of_a_tiff_costs() -> None:
    few, many = (encoded("TIFF", compression="tiff_lzw", strip_size=size) for size in (10**7, 1))

    assert decode_cost(SIZE, many) - decode_cost(SIZE, few) > 0.02 * SIZE[0]


def test_of_four_colours_each_is_brought_to_three() -> None:
    rgb, cmyk = (encoded("JPEG", mode=mode, progressive=True) for mode in ("RGB", "CMYK"))

    assert decode_cost(SIZE, cmyk) > decode_cost(SIZE, rgb) + 30 * 1.92


def test_a_file_too_short_for_its_head_has_a_cost() -> None:
    for begin in (b"\x89PNG", b"\xff\xd8", b"RIFF", b"RIFF    WEBPVP8X", b"II*\0", b"BM", b"\0\0\0\0ftypheic"):
        assert decode_cost(SIZE, begin) > 0


def test_of_a_file_whose_size_nobody_knows_there_are_its_bytes() -> None:
    assert 0 < decode_cost((0, 0)) < decode_cost((0, 0), encoded("PNG", noise()))
