"""The suffixes of picture files that servers take, clients send and data sets hold, and of videos in data sets."""

from __future__ import annotations

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
VIDEO_SUFFIXES = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".webm"})
LISTED_SUFFIXES = ", ".join(sorted(PICTURE_SUFFIXES))  # for messages


def is_picture_name(name: str | PurePath) -> bool:
    """Whether a file's suffix is that of a picture, in any case."""
    return PurePath(name).suffix.lower() in PICTURE_SUFFIXES


def is_video_name(name: str | PurePath) -> bool:
    """Whether a file's suffix is that of a video, in any case."""
    return PurePath(name).suffix.lower() in VIDEO_SUFFIXES


def suffix_of(source: str, default: str = ".jpg") -> str:
    """The suffix of a picture by its name, in lower case; of a name without one, the default."""
    suffix = PurePath(source).suffix.lower()
    return suffix if suffix in PICTURE_SUFFIXES else default


def suffix_of_format(kind: str) -> str:
    """The suffix, with its dot, of files of a format."""
    return SUFFIXES[kind][0]
