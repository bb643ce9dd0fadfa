"""Load images for sending: file bytes, a URL, or the id of an image sent before."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeAlias, Union, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from lexiseg_client.errors import UnusableImage
from lexiseg_labels.folder_sets import without_results
from lexiseg_labels.masks import png
from lexiseg_labels.picture_names import LISTED_SUFFIXES, is_picture_name
from lexiseg_labels.segmentation import Segmentation

URL = re.compile(r"https?://", re.IGNORECASE)
IMAGE_ID = re.compile(r"[0-9a-f]{32}")  # as servers give them
MAX_NAME = 1024  # characters; no file system has longer ones
PNG_MODES = ("L", "LA", "RGB", "RGBA")  # Pillow modes that need no conversion, unless a colour is transparent


@runtime_checkable
class PillowImage(Protocol):
    """The used part of `PIL.Image.Image`; Pillow itself is optional."""

    info: dict[Any, Any]

    @property
    def mode(self) -> str: ...

    def convert(self, mode: str | None = None) -> Any: ...


@runtime_checkable
class BinaryFile(Protocol):
    """A file object open in binary mode, such as `open(path, "rb")` or `io.BytesIO`."""

    def read(self) -> bytes: ...


@dataclass(frozen=True)
class ImageId:
    """Refers to an image sent before with the same API key: `Segmentation.image_id`."""

    id: str


@dataclass(frozen=True)
class ImageUrl:
    """An https URL that the server fetches, if URL fetching is enabled."""

    url: str


@dataclass(frozen=True)
class Upload:
    """The bytes of an image file."""

    content: bytes = field(repr=False)
    digest: str  # SHA-256, hexadecimal


# A path or URL, the `image_id` of an answer, a file's bytes, an open file, pixels [H, W], [H, W, 3] RGB or [H, W, 4]
# RGBA, a Pillow image, or an answer about an image.
ImageLike: TypeAlias = Union[
    str,
    "os.PathLike[str]",
    bytes,
    bytearray,
    memoryview,
    BinaryFile,
    NDArray[Any],
    PillowImage,
    ImageId,
    ImageUrl,
    Segmentation,
]
Source: TypeAlias = Upload | ImageUrl | ImageId


def load(image: ImageLike) -> Source:
    """Read an image into the form in which it is sent; pixels become a lossless PNG.

    A string that begins with `https://` is a URL, an `image_id` without a file of that name is an image sent before,
    any other a path. Masks fit pixels as given, so a Pillow image loses its EXIF orientation. Arrays are uint8, uint16
    or bool; floats are refused because their range is unknown.
    """
    if isinstance(image, (ImageId, ImageUrl)):
        return image
    if isinstance(image, Segmentation):
        return ImageId(image.image_id)
    if isinstance(image, str) and URL.match(image):
        return ImageUrl(image)
    if isinstance(image, str) and (image.startswith("data:") or "://" in image):
        raise UnusableImage(f"expected a path, an https address or bytes, got {image[:40]!r}")
    if isinstance(image, str) and IMAGE_ID.fullmatch(image) and not os.path.lexists(image):
        return ImageId(image)
    content = file_bytes(image)
    return Upload(content, hashlib.sha256(content).hexdigest())


def file_bytes(image: ImageLike) -> bytes:
    """The bytes of an image file; pixels become a PNG."""
    if isinstance(image, (bytes, bytearray, memoryview)):
        content = bytes(image)
    elif isinstance(image, (str, os.PathLike)):
        content = _read(Path(image))
    elif isinstance(image, np.ndarray):
        return png.encode(_checked(image))
    elif isinstance(image, PillowImage):
        has_key = "transparency" in image.info
        if image.mode[0] not in "IF" and (has_key or image.mode not in PNG_MODES):  # `convert` cuts I and F off at 255
            image = image.convert("RGBA" if has_key else "RGB")
        return png.encode(_checked(np.asarray(image)))
    elif isinstance(image, BinaryFile):
        try:
            content = image.read()
        except ValueError as error:  # it is closed, or open for writing
            raise UnusableImage(f"expected a file open for reading ({error})") from None
        if not isinstance(content, bytes):
            raise UnusableImage(f"expected a file open in binary mode, got one that reads {type(content).__name__}")
    else:
        raise UnusableImage(f"expected a path, bytes, a file, pixels or a Pillow image, got {type(image).__name__}")
    if not content:
        raise UnusableImage("expected the bytes of an image file, got none; a file that was read is at its end")
    return content


def _read(path: Path) -> bytes:
    """Raises UnusableImage: a folder, or no path; OSError: the file cannot be read."""
    if len(path.name) > MAX_NAME:
        raise UnusableImage(f"{str(path)[:40]!r}... is no path; of base64 send the bytes: base64.b64decode(...)")
    if path.is_dir():
        raise UnusableImage(f"{path} is a folder; for each of its pictures write client.map({str(path)!r}, ...)")
    try:
        return path.read_bytes()
    except ValueError as error:  # a null character, or one that the file system cannot have
        raise UnusableImage(f"{str(path)!r} is no path ({error})") from None


def pictures_in(folder: Path, out: Path | None = None) -> list[Path]:
    """The pictures below a folder, by suffix, in the order of their paths; without hidden ones and results in `out`."""

    def refuse(error: OSError) -> None:
        raise error

    pictures = []
    for place, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        pictures += [Path(place, name) for name in names if not name.startswith(".") and is_picture_name(name)]
    pictures = without_results(pictures, folder, out)
    if not pictures:
        raise UnusableImage(f"{folder}: no pictures in it; expected files with one of {LISTED_SUFFIXES}")
    return sorted(pictures)


def _checked(pixels: NDArray[Any]) -> NDArray[Any]:
    if pixels.dtype == bool:
        pixels = pixels.astype(np.uint8) * 255
    has_channels = pixels.ndim == 3 and 1 <= pixels.shape[2] <= 4
    if pixels.dtype.str[1:] not in ("u1", "u2") or not (pixels.ndim == 2 or has_channels) or pixels.size == 0:
        raise UnusableImage(
            f"expected [H, W], [H, W, 3] RGB or [H, W, 4] RGBA pixels of uint8 or uint16 over the type's full range, "
            f"got {pixels.dtype} {list(pixels.shape)}"
        )
    return pixels
