"""What a file is expected to take, from what can be seen of it without decoding it."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lexiseg_service.worker.costs.decoding import decode_cost

SIZE = (1200, 1600)


def noise() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)


def encoded(kind: str, pixels: NDArray[np.uint8] | None = None, mode: str = "RGB", **how: int | bool) -> bytes:
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


def test_of_a_file_whose_size_nobody_knows_there_are_its_bytes() -> None:
    assert 0 < decode_cost((0, 0)) < decode_cost((0, 0), encoded("PNG", noise()))
