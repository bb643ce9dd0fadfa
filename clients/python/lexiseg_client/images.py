"""Everything that stands for an image, as it is sent: bytes of a file, a URL, or the id of an image sent before."""

from __future__ import annotations

import hashlib
import os
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeAlias, Union, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from lexiseg_client.errors import UnusableImage
from lexiseg_client.masks import png

AS_THEY_ARE = ("L", "LA", "RGB", "RGBA", "I;16")  # modes of Pillow whose arrays can be written as they are


@runtime_checkable
class PillowImage(Protocol):
    """As much of `PIL.Image.Image` as is needed; Pillow itself is not."""

    @property
    def mode(self) -> str: ...

    def convert(self, mode: str | None = None) -> Any: ...

    def tobytes(self) -> bytes: ...


@runtime_checkable
class BinaryFile(Protocol):
    """A file object that is open for reading bytes, as of `open(path, "rb")` or `io.BytesIO`."""

    def read(self) -> bytes: ...


@dataclass(frozen=True)
class ImageId:
    """An image that was sent before, by this client or with the same API key: `Segmentation.image_id`."""

    id: str


@dataclass(frozen=True)
class ImageUrl:
    """An image that the server fetches itself, if it is allowed to; https only."""

    url: str


@dataclass(frozen=True)
class Upload:
    """The bytes of an image file."""

    content: bytes = field(repr=False)
    digest: str  # SHA-256

    @classmethod
    def of(cls, content: bytes) -> Upload:
        return cls(content, hashlib.sha256(content).hexdigest())


# A path or a URL, a file's bytes, an open file, pixels [H, W], [H, W, 3] RGB or [H, W, 4] RGBA, or an image of Pillow.
ImageLike: TypeAlias = Union[
    str, "os.PathLike[str]", bytes, bytearray, memoryview, BinaryFile, NDArray[Any], PillowImage, ImageId, ImageUrl
]
Source: TypeAlias = Upload | ImageUrl | ImageId


def load(image: ImageLike) -> Source:
    """Anything that stands for an image, ready to be sent.

    Args:
        image: a string with `://` is a URL, any other a path. A file object is read from where it stands. Pixels are
            sent as a lossless PNG; masks fit the pixels as they were given, so an image of Pillow is sent without its
            EXIF orientation. Arrays are of uint8, uint16 or bool; floats are refused, because their range is unknown.

    Raises:
        UnusableImage: none of these.
        OSError: the file cannot be read.
    """
    if isinstance(image, (ImageId, ImageUrl)):
        return image
    if isinstance(image, str) and "://" in image:
        return ImageUrl(image)
    return Upload.of(file_bytes(image))


def file_bytes(image: ImageLike) -> bytes:
    """The bytes of an image file; pixels become a PNG.

    Raises:
        UnusableImage: it is not an image, or one that is elsewhere.
        OSError: the file cannot be read.
    """
    if isinstance(image, (bytes, bytearray, memoryview)):
        content = bytes(image)
    elif isinstance(image, (str, os.PathLike)):
        content = Path(image).read_bytes()
    elif isinstance(image, np.ndarray):
        return png.encode(_checked(image))
    elif isinstance(image, PillowImage):
        return png.encode(_checked(np.asarray(image if image.mode in AS_THEY_ARE else image.convert("RGB"))))
    elif isinstance(image, BinaryFile):
        content = image.read()
        if not isinstance(content, bytes):
            raise UnusableImage(
                f"expected a file that is open in binary mode, got one whose read gives {type(content).__name__}"
            )
    else:
        raise UnusableImage(f"expected a path, bytes, a file, pixels or an image of Pillow, got {type(image).__name__}")
    if not content:
        raise UnusableImage("expected the bytes of an image file, got none")
    return content


def _checked(pixels: NDArray[Any]) -> NDArray[Any]:
    if pixels.dtype == bool:
        pixels = pixels.astype(np.uint8) * 255
    deep = pixels.ndim == 3 and 1 <= pixels.shape[2] <= 4
    if pixels.dtype not in (np.uint8, np.uint16) or not (pixels.ndim == 2 or deep) or pixels.size == 0:
        raise UnusableImage(
            f"expected [H, W], [H, W, 3] RGB or [H, W, 4] RGBA pixels of uint8 or uint16 (0 to the type's most), "
            f"got {pixels.dtype} {list(pixels.shape)}"
        )
    return pixels


class SentImages:
    """LRU from the digest of an upload to the server's image id, so that an image is sent once. Thread-safe."""

    def __init__(self, max_entries: int = 4096) -> None:
        self._max_entries = max_entries
        self._ids: OrderedDict[str, str] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, digest: str) -> str | None:
        """The id of an image sent before."""
        with self._lock:
            if digest in self._ids:
                self._ids.move_to_end(digest)
            return self._ids.get(digest)

    def remember(self, digest: str, image_id: str) -> None:
        """Keep the id that the server gave an upload."""
        with self._lock:
            self._ids[digest] = image_id
            self._ids.move_to_end(digest)
            while len(self._ids) > self._max_entries:
                self._ids.popitem(last=False)

    def forget(self, digest: str) -> None:
        """Drop an image that the server no longer knows."""
        with self._lock:
            self._ids.pop(digest, None)
