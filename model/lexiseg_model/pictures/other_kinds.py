"""Files that are no pictures of a kind that is taken, by their first bytes."""

from __future__ import annotations

import re

from lexiseg_model.errors import DamagedPictureError, PictureError, UnsupportedPictureError
from lexiseg_model.pictures.tiff import CAMERA_RAW

STILL_FORMATS = "JPEG, PNG, WebP, HEIC, AVIF, BMP or TIFF"
# ORF, RW2, RAF, X3F, MRW. CR3 is a brand; other raw files of cameras are TIFF.
RAW_MAGIC = (b"IIRO", b"IIRS", b"MMOR", b"IIU\x00", b"FUJIFILMCCD-RAW", b"FOVb", b"\x00MRM")
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


def refusal_of_kind(content: bytes) -> PictureError:
    """The error of a file of no kind that is taken."""
    if not content:
        return DamagedPictureError("the file is empty")
    if content.startswith(RAW_MAGIC):
        return UnsupportedPictureError(CAMERA_RAW)
    if (name := _name_of_other(content)) is not None:
        return UnsupportedPictureError(f"{name} came, which is not taken; send {STILL_FORMATS}, one still picture")
    return UnsupportedPictureError(f"the first bytes are of no image type that is taken; send {STILL_FORMATS}")


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
