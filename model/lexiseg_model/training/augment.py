"""Crops for training: random scale, shape, place, mirror and colour; labels at the network's stride."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from lexiseg_model.training.views import Colours, labels_in, random_colours, window_view

ZOOM = (0.45, 1.25)  # half to one and a half of what inference shows at this size
BORDER = (124, 116, 104)  # beside a photograph
LUMA = (0.299, 0.587, 0.114)  # of RGB, BT.601

Crop = tuple[NDArray[np.uint8], NDArray[np.uint8]]


def random_crop(
    image: NDArray[np.uint8],
    mask: NDArray[np.uint8],
    size: int,
    stride: int,
    random: np.random.Generator,
    zoom: tuple[float, float] = ZOOM,
) -> Crop:
    """A random window of the photograph, resized to `size`.

    Args:
        image: [H, W, 3] RGB.
        mask: [H, W] class indices.
        size: side of the crop in pixels.
        stride: pixels per label.
        random: the source of every choice.
        zoom: least and largest side of the window, as shares of the photograph's shorter side.

    Returns:
        Crop [size, size, 3] and labels [size/stride, size/stride].
    """
    matrix = window_view(mask, size, random, zoom)
    crop = cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR, borderValue=BORDER)
    return _recoloured(crop.astype(np.uint8), random_colours(random)), labels_in(mask, matrix, size, stride)


def _recoloured(crop: NDArray[np.uint8], colours: Colours) -> NDArray[np.uint8]:
    pixels: NDArray[np.floating] = crop.astype(np.float32)
    gray = pixels @ np.array(LUMA, np.float32)
    pixels = gray[..., None] + colours.saturation * (pixels - gray[..., None])
    mean = float(gray.mean())
    pixels = (pixels - mean) * (colours.contrast * colours.gain) + mean * colours.gain
    return np.clip(pixels, 0, 255).astype(np.uint8)
