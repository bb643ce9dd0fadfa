"""The formats of pictures that are taken: their first bytes and their file name suffixes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePath

from lexiseg_model.errors import DamagedPictureError, UnsupportedPictureError

# By Pillow's name of the format; the first suffix is the one that is written.
SUFFIXES = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".pjpeg", ".pjp"),
    "PNG": (".png",),
    "WEBP": (".webp",),
    "BMP": (".bmp", ".dib"),
    "TIFF": (".tif", ".tiff"),
    "HEIF": (".heic", ".heif", ".hif"),
    "AVIF": (".avif",),
}
PICTURE_SUFFIXES = frozenset(suffix for suffixes in SUFFIXES.values() for suffix in suffixes)
STILL_FORMATS = "JPEG, PNG, WebP, HEIC, AVIF, BMP or TIFF"
MAGIC = {
    "JPEG": (b"\xff\xd8\xff",),
    "PNG": (b"\x89PNG\r\n\x1a\n",),
    "WEBP": (b"RIFF",),
    "BMP": (b"BM",),
    "TIFF": (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+"),  # the last two: BigTIFF
}
# HEIC and AVIF share a container (ISO/IEC 14496-12): the first brand is the type, the others are compatible types.
BRANDS = {"AVIF": {b"avif"}, "HEIF": {b"heic", b"heix", b"heim", b"heis"}}
SEQUENCES = {b"avis", b"hevc", b"hevx"}  # first brands of image sequences
MAX_BRAND_BYTES = 256
# ORF, RW2, RAF, X3F, MRW. CR3 is a brand; other raw files of cameras are TIFF.
RAW_MAGIC = (b"IIRO", b"IIRS", b"MMOR", b"IIU\x00", b"FUJIFILMCCD-RAW", b"FOVb", b"\x00MRM")
RAW_BRAND = b"crx "
# Further kinds that come, by their names in messages.
OTHERS = {
    "a GIF": (b"GIF87a", b"GIF89a"),
    "a JPEG 2000": (b"\x00\x00\x00\x0cjP  ", b"\xff\x4f\xff\x51"),
    "a JPEG XL": (b"\x00\x00\x00\x0cJXL ", b"\xff\x0a"),
    "a Photoshop file (PSD)": (b"8BPS",),
    "an OpenEXR file": (b"v/1\x01",),
}
DICOM_AT = 128  # where its first bytes stand, behind a preamble of anything
BOM, MAX_PROLOG_BYTES = b"\xef\xbb\xbf", 4096  # of SVG and HTML, before their root element
CAMERA_RAW = "a camera's raw file came, which a program has to develop first; send the developed JPEG, PNG or TIFF"


def is_picture_name(name: str | PurePath) -> bool:
    """Whether a file's suffix is that of a picture, in any case."""
    return PurePath(name).suffix.lower() in PICTURE_SUFFIXES


def suffix_of(kind: str) -> str:
    """The suffix, with its dot, of files of a format."""
    return SUFFIXES[kind][0]


def listed_suffixes(suffixes: Iterable[str] = PICTURE_SUFFIXES) -> str:
    """The suffixes in words, for messages."""
    return ", ".join(sorted(suffixes))


def sniff(content: bytes) -> str:
    """The format by the first bytes, under Pillow's name for it.

    Raises:
        UnsupportedPictureError: not a still picture of a format that is taken.
        DamagedPictureError: the file is empty.
    """
    for kind, beginnings in MAGIC.items():
        if content.startswith(beginnings) and (kind != "WEBP" or content[8:12] == b"WEBP"):
            return kind
    if content[4:8] == b"ftyp":
        return _sniff_brands(content)
    if not content:
        raise DamagedPictureError("the file is empty")
    if content.startswith(RAW_MAGIC):
        raise UnsupportedPictureError(CAMERA_RAW)
    if (name := _name_of_other(content)) is not None:
        raise UnsupportedPictureError(f"{name} came, which is not taken; send {STILL_FORMATS}, one still picture")
    raise UnsupportedPictureError(f"the first bytes are of no image type that is taken; send {STILL_FORMATS}")


def _name_of_other(content: bytes) -> str | None:
    """What came in place of a picture that is taken; None: nothing that is known by its first bytes."""
    for name, beginnings in OTHERS.items():
        if content.startswith(beginnings):
            return name
    if content[DICOM_AT : DICOM_AT + 4] == b"DICM":
        return "a DICOM file"
    text = content[:MAX_PROLOG_BYTES].lower().removeprefix(BOM).lstrip()
    if text.startswith(b"<"):
        if re.search(rb"<(\w+:)?svg[\s>]", text):
            return "an SVG drawing"
        if re.search(rb"<(!doctype\s+html|html|head|body)[\s>]", text):
            return "an HTML page, as of a login or an error,"
    return None


def _sniff_brands(content: bytes) -> str:
    end = min(int.from_bytes(content[:4], "big"), MAX_BRAND_BYTES, len(content))
    first, others = content[8:12], {content[at : at + 4] for at in range(16, end, 4)}
    if first == RAW_BRAND:
        raise UnsupportedPictureError(CAMERA_RAW)
    if first in SEQUENCES:
        raise UnsupportedPictureError("a sequence of pictures came; send one still picture")
    for kind, brands in BRANDS.items():
        if brands & {first, *others}:
            return kind
    raise UnsupportedPictureError(f"a film or another kind of HEIF came; send {STILL_FORMATS}")
