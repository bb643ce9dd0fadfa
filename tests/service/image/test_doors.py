"""One file, one picture: every door shows the pixels that were encoded, or that Pillow shows."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from lexiseg_model.masks.encodings import to_png
from lexiseg_model.pictures.header import upright
from lexiseg_service.commands.image_files import Source
from lexiseg_service.image.reader import decode, read_header
from lexiseg_service.settings import Limits
from lexiseg_train.data.indexed import Sample, photograph_size, read_photograph
from lexiseg_train.data.own.masks import Picture
from lexiseg_train.data.pairs.source import StoredPair
from lexiseg_train.data.pairs.source import decode as decode_pair
from tests import pictures
from tests.model.pictures.tiffs import packed, tiff

LIMITS = Limits()
PHOTOGRAPH = pictures.photograph("china").resize((60, 44))
RGB = np.asarray(PHOTOGRAPH)
GREY = np.asarray(PHOTOGRAPH.convert("L")).copy()
GREY.flat[:2] = 0, 255  # all of the range
WIDE = GREY.astype(np.uint16) * 257
SEEN = np.zeros_like(GREY)
SEEN[:, :30] = 255
HOLED = np.dstack([RGB, SEEN])
LOSSY = {"JPEG": 4.0, "AVIF": 8.0, "HEIF": 8.0}  # mean difference from what was encoded
Pixels = NDArray[np.uint8]


def turned_back(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Stored pixels that an orientation turns upright."""
    undone = {6: 8, 8: 6}.get(orientation, orientation)
    return np.ascontiguousarray(upright(pixels, undone))


def encoded(pixels: Pixels, kind: str, orientation: int) -> bytes:
    if kind == "HEIF":
        return pictures.heic(Image.fromarray(turned_back(pixels, orientation)), orientation)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options: dict[str, dict[str, Any]] = {
        "JPEG": {"quality": 95, "subsampling": 0},
        "WEBP": {"lossless": True},
        "AVIF": {"quality": 95},
    }
    stored = Image.fromarray(turned_back(pixels, orientation))
    return pictures.encoded(stored, kind, exif=exif, **options.get(kind, {}))


def in_mode(mode: str, kind: str, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(turned_back(HOLED if "A" in mode else RGB, orientation)).convert(mode)
    return pictures.encoded(stored, kind, exif=exif)


def table() -> Iterator[tuple[str, bytes, Pixels | None]]:
    """Names, files, and what they show where that is known; None: what Pillow shows over white."""
    for orientation in range(1, 9):
        for kind in ("JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"):
            yield f"{kind} {orientation}", encoded(RGB, kind, orientation), RGB
    over_white = np.where(SEEN[..., None] > 0, RGB, 255).astype(np.uint8)
    invisible = np.dstack([RGB, np.zeros_like(SEEN)])
    yield "BMP 1", pictures.encoded(PHOTOGRAPH, "BMP"), RGB
    grey = np.repeat(GREY[..., None], 3, 2)
    for kind in ("PNG", "WEBP", "TIFF", "AVIF"):
        yield f"{kind} RGBA", encoded(HOLED, kind, 6), over_white
    for kind in ("PNG", "TIFF"):
        yield f"{kind} transparent throughout", encoded(invisible, kind, 6), RGB
        for mode in ("1", "L", "P", "LA"):
            yield f"{kind} {mode}", in_mode(mode, kind, 6), None
    for mode in ("L", "CMYK"):
        yield f"JPEG {mode}", in_mode(mode, "JPEG", 6), None
    exif = Image.Exif()
    exif[0x0112] = 6
    yield "PNG 16 bits", pictures.encoded(Image.fromarray(turned_back(WIDE, 6)), exif=exif), grey
    for name, pixels, options in deep_tiffs():
        content = tiff(turned_back(pixels, 6), extratags=[(274, "H", 1, 6, True)], **options)
        yield f"TIFF {name}", content, grey if pixels.ndim == 2 else RGB
    for bits in (10, 12, 14):
        yield f"TIFF {bits} bits", packed(GREY.astype(np.uint16) << (bits - 8), bits), grey
    yield "TIFF overview", tiff(RGB, RGB[::2, ::2], subfiles=(0, 1), photometric="rgb"), RGB
    yield "TIFF big", tiff(RGB, bigtiff=True, photometric="rgb"), RGB
    yield "TIFF planar", tiff(RGB.transpose(2, 0, 1), photometric="rgb", planarconfig="separate"), RGB


def deep_tiffs() -> Iterator[tuple[str, NDArray[Any], dict[str, Any]]]:
    black, white, rgb = ({"photometric": name} for name in ("minisblack", "miniswhite", "rgb"))
    yield "16 bits", WIDE, black
    yield "16 bits big-endian", WIDE, black | {"order": ">"}
    yield "16 bits white is zero", 65535 - WIDE, white
    yield "8 bits white is zero", 255 - GREY, white
    yield "float", (GREY / 255).astype(np.float32), black
    yield "16 bits a colour", RGB.astype(np.uint16) * 257, rgb
    yield "float colours", (RGB / 255).astype(np.float32), rgb


TABLE = {name: (content, shown) for name, content, shown in table()}


def as_worker(content: bytes, path: Path) -> Pixels:
    return decode(content, LIMITS, None).rgb


def as_set(content: bytes, path: Path) -> Pixels:
    return read_photograph(path)


def as_own_pictures(content: bytes, path: Path) -> Pixels:
    height, width = photograph_size(path)
    mask = path.with_name("mask.png")
    mask.write_bytes(to_png(np.zeros((height, width), np.uint8)))
    return Picture(path, Sample(path, mask).read_mask).read().image


def as_pair(content: bytes, path: Path) -> Pixels:
    return decode_pair(StoredPair(path.name, content, ("a caption",)))


def as_command(content: bytes, path: Path) -> Pixels:
    return Source(path.name, path, LIMITS).pixels()


DOORS: tuple[Callable[[bytes, Path], Pixels], ...] = (as_set, as_own_pictures, as_pair, as_command)


def by_pillow(content: bytes) -> Pixels:
    with Image.open(io.BytesIO(content)) as opened:
        picture = ImageOps.exif_transpose(opened)
        if picture.has_transparency_data:
            picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture.convert("RGBA"))
        return np.asarray(picture.convert("RGB"))


@pytest.mark.parametrize("name", TABLE)
def test_every_door_shows_the_same_picture(name: str, tmp_path: Path) -> None:
    content, shown = TABLE[name]
    path = tmp_path / "picture"
    path.write_bytes(content)
    expected = by_pillow(content) if shown is None else shown

    seen = as_worker(content, path)

    assert seen.shape == expected.shape == (*read_header(content, LIMITS).size, 3)
    difference = np.abs(seen.astype(int) - expected)
    assert difference.mean() <= LOSSY.get(name.split()[0], 0.5)
    assert all(np.array_equal(door(content, path), seen) for door in DOORS)
