"""Photographs for a load: from a folder, or made here; each as new to the service as the repeat rate says."""

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


def photographs(folder: Path | None, seed: int = 0) -> list[bytes]:
    """Encoded photographs: the first of a folder (in the order of their names), or generated ones.

    Raises:
        FileNotFoundError: the folder holds none.
    """
    if folder is None:
        return [generated(seed + index) for index in range(GENERATED)]
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)[:MAX_FILES]
    if not paths:
        raise FileNotFoundError(f"{folder}: no {', '.join(sorted(SUFFIXES))} file")
    return [path.read_bytes() for path in paths]


def generated(seed: int) -> bytes:
    """A JPEG with a sky, a ground, coloured shapes and grain: it costs what a photograph costs."""
    return _encoded(_scene(np.random.default_rng(seed), SIZE))


def shorter_side(photograph: bytes) -> int:
    """In pixels, from the file's header: a square of it lies in the image however it was turned."""
    with Image.open(io.BytesIO(photograph)) as picture:
        return min(picture.size)


def frames(seed: int, count: int) -> list[bytes]:
    """JPEG frames of a camera that pans over a wide scene, to and fro."""
    width, height = SIZE
    wide = _scene(np.random.default_rng(seed), (2 * width, height))
    there_and_back = np.abs(np.linspace(-1, 1, count))
    return [_encoded(wide[:, int(left) : int(left) + width]) for left in there_and_back * width]


def _scene(chance: np.random.Generator, size: tuple[int, int]) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """[H, W, 3]."""
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
    """A photograph that the service has answered about."""

    content: bytes = field(repr=False)
    image_id: str


class Supply:
    """Next photograph of a user: a new one, or one that it has sent before.

    Args:
        originals: encoded files.
        repeat: share of questions about a photograph sent before, 0 to 1.
        chance: decides.
    """

    def __init__(self, originals: list[bytes], repeat: float, chance: random.Random) -> None:
        self._originals = originals
        self._repeat = repeat
        self._chance = chance
        self._sent: list[Sent] = []

    def next(self) -> bytes | Sent:
        """New bytes to send, or a photograph to name."""
        if self._sent and self._chance.random() < self._repeat:
            return self._chance.choice(self._sent)
        # A few bytes behind the end of the file: another image to every cache, the same work to decode.
        return self._chance.choice(self._originals) + self._chance.randbytes(MARK_BYTES)

    def answered(self, content: bytes, image_id: str) -> None:
        """The service has it under this id."""
        self._sent.append(Sent(content, image_id))
        del self._sent[:-REMEMBERED]

    def forgotten(self, sent: Sent) -> None:
        """The service has it no more."""
        self._sent.remove(sent)
