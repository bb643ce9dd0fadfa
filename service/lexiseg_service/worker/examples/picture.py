"""The picture that a vocabulary keeps of an example: small, for whichever model comes later."""

from __future__ import annotations

import io
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lexiseg_model.masks.rle import decode as decode_mask
from lexiseg_model.masks.rle import encode_mask
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.types import Point, Prompt, Region
from lexiseg_service.question.examples import ExampleRegion
from lexiseg_service.question.messages import KeptPicture
from lexiseg_service.settings import Limits
from lexiseg_service.worker.decode import decode

QUALITY = 90  # of JPEG
KEPT_LONGEST, KEPT_SHORTEST = 1024, 512  # pixels of a kept picture's sides


def kept_picture(image: bytes, regions: tuple[ExampleRegion, ...], segmenter: Segmenter, limits: Limits) -> KeptPicture:
    """The image as a JPEG without any of its metadata, upright, and its regions there.

    Raises:
        ServiceError: the image cannot be decoded.
        ShapeError: a mask cannot be read.
    """
    shortest = max(KEPT_SHORTEST, segmenter.card.input.short_side)
    decoded = decode(image, limits, shortest)
    height, width = decoded.rgb.shape[:2]
    factor = min(1.0, max(shortest / min(height, width), 1e-9), KEPT_LONGEST / max(height, width))
    small = (max(limits.min_side, round(height * factor)), max(limits.min_side, round(width * factor)))
    moved = tuple(_moved(shown.region, decoded.size, small) for shown in regions)
    return KeptPicture(_written(decoded.rgb, small), moved)


def _written(rgb: NDArray[np.uint8], size: tuple[int, int]) -> bytes:
    """[H, W, 3] as a JPEG of `size` (height, width)."""
    if size != rgb.shape[:2]:
        rgb = np.asarray(cv2.resize(rgb, (size[1], size[0]), interpolation=cv2.INTER_AREA), np.uint8)
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, "JPEG", quality=QUALITY)
    return file.getvalue()


def _moved(region: Region, size: tuple[int, int], small: tuple[int, int]) -> Region:
    """A region of an image of `size` (height, width) in that image at another size."""
    down, across = small[0] / size[0], small[1] / size[1]
    if region.mask is not None:
        mask = decode_mask(region.mask).astype(np.uint8)
        shrunk = cv2.resize(mask, (small[1], small[0]), interpolation=cv2.INTER_AREA if down < 1 else cv2.INTER_NEAREST)
        return Region(mask=encode_mask(shrunk > 0))
    assert region.prompt is not None
    prompt = region.prompt
    points = tuple(Point(point.x * across, point.y * down, point.positive) for point in prompt.points)
    if prompt.box is None:
        return Region(replace(prompt, points=points))
    x0, y0, x1, y1 = prompt.box
    return Region(Prompt(points, (x0 * across, y0 * down, x1 * across, y1 * down)))
