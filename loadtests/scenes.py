"""Images of a load: from a folder or generated; a repeat rate says how many the service has seen before."""

from __future__ import annotations

import io
import random
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
MAX_FILES = 200
GENERATED = 8
SIZE = (640, 480)  # width, height of generated photographs and of video frames
BLOBS = 12
MARK_BYTES = 8
REMEMBERED = 64  # photographs that a user may ask about again


def photographs(folder: Path | None) -> list[bytes]:
    """Encoded images: the first MAX_FILES of a folder by name, or generated ones.

    Raises:
        FileNotFoundError: the folder holds none.
    """
    if folder is None:
        return [generated(index) for index in range(GENERATED)]
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)[:MAX_FILES]
    if not paths:
        raise FileNotFoundError(f"{folder}: no {', '.join(sorted(SUFFIXES))} file")
    return [path.read_bytes() for path in paths]


def generated(seed: int) -> bytes:
    """A JPEG with sky, ground, coloured shapes and grain: as expensive to decode as a photograph."""
    return _encoded(_scene(np.random.default_rng(seed), SIZE))


def shorter_side(photograph: bytes) -> int:
    """Pixels of the shorter side, from the header: a square of it lies in the image in any EXIF orientation."""
    with Image.open(io.BytesIO(photograph)) as picture:
        return min(picture.size)


def frames(seed: int, count: int) -> list[bytes]:
    """JPEG frames of a camera that pans over a wide scene and back."""
    width, height = SIZE
    wide = _scene(np.random.default_rng(seed), (2 * width, height))
    there_and_back = np.abs(np.linspace(-1, 1, count))
    return [_encoded(wide[:, int(left) : int(left) + width]) for left in there_and_back * width]


def _scene(chance: np.random.Generator, size: tuple[int, int]) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Pixels [H, W, 3] of a random scene."""
    width, height = size
    y, x = np.mgrid[:height, :width].astype(np.float32)
    horizon = height * chance.uniform(0.3, 0.6)
    sky, ground = chance.uniform(120, 255, 3), chance.uniform(20, 140, 3)
    pixels = np.where(
        (y < horizon)[..., None], sky + (y[..., None] - horizon) * 0.2, ground + (y[..., None] - horizon) * 0.2
    )
    for _ in range(BLOBS):
        centre, radius = chance.uniform(0, 1, 2) * (height, width), chance.uniform(0.03, 0.2, 2) * height
        inside = ((y - centre[0]) / radius[0]) ** 2 + ((x - centre[1]) / radius[1]) ** 2 < 1
        pixels[inside] = chance.uniform(0, 255, 3)
    grain = chance.normal(0, 6, (height, width, 1))
    scene: np.ndarray[tuple[int, ...], np.dtype[np.uint8]] = (pixels + grain).clip(0, 255).astype(np.uint8)
    return scene


def _encoded(pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


@dataclass(frozen=True)
class Sent:
    """An image that the service knows by an id."""

    content: bytes = field(repr=False)
    image_id: str


class Supply:
    """Images of one user's questions: new ones, and some that it has sent before.

    Args:
        originals: encoded files.
        repeat: share of questions about an image sent before, 0 to 1.
        chance: random numbers of this user.
    """

    def __init__(self, originals: list[bytes], repeat: float, chance: random.Random) -> None:
        self._originals = originals
        self._repeat = repeat
        self._chance = chance
        self._sent: list[Sent] = []

    def next(self) -> bytes | Sent:
        """A new file to send, or an image to refer to by its id."""
        if self._sent and self._chance.random() < self._repeat:
            return self._chance.choice(self._sent)
        # Bytes after the end of the file: new to every cache, equal work to decode.
        return self._chance.choice(self._originals) + self._chance.randbytes(MARK_BYTES)

    def answered(self, content: bytes, image_id: str) -> None:
        """Remember the id of an image that was sent."""
        self._sent.append(Sent(content, image_id))
        del self._sent[:-REMEMBERED]

    def forgotten(self, sent: Sent) -> None:
        """Forget an image that the service no longer has."""
        self._sent.remove(sent)
