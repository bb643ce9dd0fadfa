"""The formats of pictures that are taken, and the suffixes of their files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePath

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
