"""Frames of a video as pictures: VIDEO/frame_000012.png is its thirteenth, as if the video were a folder of them."""

from __future__ import annotations

import errno
import re
from functools import lru_cache
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
from numpy.typing import NDArray

from lexiseg_labels.picture_names import is_video_name

FRAME = re.compile(r"frame_(\d{6,9})\.png")
# Of MP4 and MOV, Matroska and WebM, AVI. FFmpeg goes by the content, and a playlist may name any file or address.
CONTAINERS = re.compile(rb"....ftyp|\x1aE\xdf\xa3|RIFF....AVI ", re.DOTALL)


def is_frame(path: PurePosixPath) -> bool:
    return FRAME.fullmatch(path.name) is not None and is_video_name(path.parent)


def picture_bytes(path: Path) -> bytes:
    """The content of a picture's file; of a frame as BMP. Raises OSError: it cannot be read."""
    match = FRAME.fullmatch(path.name)
    if match is None or not is_video_name(path.parent) or path.parent.is_dir():
        return path.read_bytes()
    _, content = cv2.imencode(".bmp", _opened(path.parent).frame(int(match[1])))
    return content.tobytes()


class _Video:
    """Reads the frames of a video in rising order fast; before an earlier one it begins anew."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            if CONTAINERS.match(file.read(12)) is None:
                raise OSError(errno.EINVAL, "it is no MP4, MOV, Matroska, WebM or AVI", str(path))
        self._path = path
        self._open()

    def _open(self) -> None:
        self._next = 0
        self._capture = cv2.VideoCapture(str(self._path), cv2.CAP_FFMPEG)

    def frame(self, number: int) -> NDArray[np.uint8]:
        """Pixels [H, W, 3] in BGR, upright. Raises OSError: there is no such frame."""
        if number < self._next:
            self._open()
        while self._next <= number and self._capture.grab():
            self._next += 1
        is_read, pixels = self._capture.retrieve() if self._next > number else (False, None)
        if not is_read or pixels is None:
            raise OSError(errno.EINVAL, f"the video has no frame {number}, or cannot be decoded", str(self._path))
        return np.asarray(pixels, np.uint8)


@lru_cache(maxsize=1)
def _opened(path: Path) -> _Video:
    return _Video(path)
