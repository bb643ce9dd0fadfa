"""How far a decoder of JPEG is from libjpeg-turbo, on pictures that are made for it.

nvJPEG repeats chroma where libjpeg-turbo interpolates it, and rounds otherwise. Without a GPU, libjpeg-turbo's own
repeated chroma stands for it: 1.0 level of 255 in the mean and 10 for 99 of 100 numbers where chroma has a quarter of
the pixels. Colours of another range are 8.8 levels off, a picture that lies one pixel beside 5.0.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from lexiseg_service.worker.jpeg.nvjpeg import SAMPLINGS, DeviceJpeg

MOST_MEAN = 2.0  # levels of 255
MOST_OF_99 = 16  # levels that 99 of 100 numbers stay within
SIZE = (487, 641)  # no side is a whole number of blocks
QUALITY = 90
SEED = 0


class Difference(NamedTuple):
    """Levels of 255 between two pictures: in the mean, and what 99 of 100 numbers stay within."""

    mean: float
    of_99: float

    @property
    def is_small(self) -> bool:
        return self.mean <= MOST_MEAN and self.of_99 <= MOST_OF_99


def difference(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> Difference:
    """Of two pictures [H, W, 3]."""
    levels = np.abs(one.astype(np.int16) - other)
    return Difference(float(levels.mean()), float(np.percentile(levels, 99)))


def differences(decoder: DeviceJpeg) -> dict[str, Difference | None]:
    """By sampling of chroma, against libjpeg-turbo; None where it does not decode."""
    pixels = picture()
    found: dict[str, Difference | None] = {}
    for sampling in SAMPLINGS:
        image = simplejpeg.encode_jpeg(pixels, QUALITY, colorsubsampling=sampling)
        decoded = decoder(image, sampling, SIZE, SIZE)
        expected = simplejpeg.decode_jpeg(image, "RGB")
        found[sampling] = None if decoded is None else difference(expected, decoded)
    return found


def picture() -> NDArray[np.uint8]:
    """[H, W, 3]: colours that run into each other, grain, and discs with sharp edges; always the same."""
    height, width = SIZE
    rng = np.random.default_rng(SEED)
    colours = cv2.resize(
        rng.uniform(0, 255, (7, 9, 3)).astype(np.float32), (width, height), None, 0, 0, cv2.INTER_CUBIC
    )
    grain = cv2.GaussianBlur(rng.normal(0, 40, SIZE).astype(np.float32), (0, 0), 1.0)
    canvas = np.ascontiguousarray(np.clip(colours + grain[..., None], 0, 255).astype(np.uint8))
    for _ in range(12):
        colour = [int(level) for level in rng.integers(0, 256, 3)]
        centre = (int(rng.integers(width)), int(rng.integers(height)))
        cv2.circle(canvas, centre, int(rng.integers(8, height // 6)), colour, -1, cv2.LINE_AA)
    return canvas
