"""Crops for training: random scale, shape, place, mirror and colour; labels at the network's stride."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from lexiseg_model.data.indexed import IGNORE

ZOOM = (0.45, 1.25)  # half to one and a half of what inference shows at this size

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
    height, width = mask.shape
    side = min(height, width) * np.exp(random.uniform(*np.log(zoom)))
    aspect = np.exp(random.uniform(-0.2, 0.2))
    window_h, window_w = side * aspect, side / aspect
    centre_y, centre_x = _centre(mask, random)
    top = centre_y - window_h * random.uniform(0.2, 0.8)
    left = centre_x - window_w * random.uniform(0.2, 0.8)
    top = np.clip(top, min(0.0, height - window_h), max(0.0, height - window_h))
    left = np.clip(left, min(0.0, width - window_w), max(0.0, width - window_w))
    scale_x, scale_y = size / window_w, size / window_h
    if random.random() < 0.5:
        image, mask = image[:, ::-1], mask[:, ::-1]
        left = width - left - window_w
    shift_x, shift_y = 0.5 * scale_x - 0.5 - left * scale_x, 0.5 * scale_y - 0.5 - top * scale_y
    matrix = np.array([[scale_x, 0, shift_x], [0, scale_y, shift_y]])
    crop = cv2.warpAffine(
        np.ascontiguousarray(image),
        matrix,
        (size, size),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(124, 116, 104),
    )
    labels = cv2.warpAffine(
        np.ascontiguousarray(mask),
        matrix,
        (size, size),
        flags=cv2.INTER_NEAREST,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(IGNORE,),
    )
    return _recolour(crop.astype(np.uint8), random), labels[stride // 2 :: stride, stride // 2 :: stride].astype(
        np.uint8
    )


def _centre(mask: NDArray[np.uint8], random: np.random.Generator) -> tuple[float, float]:
    """A pixel of a randomly chosen class of the photograph, so that small classes are seen as often as large ones."""
    height, width = mask.shape
    present = np.unique(mask[::8, ::8])
    present = present[present != IGNORE]
    if len(present) and random.random() < 0.6:
        rows, columns = np.nonzero(mask[::8, ::8] == random.choice(present))
        chosen = random.integers(len(rows))
        return float(rows[chosen] * 8), float(columns[chosen] * 8)
    return random.uniform(0, height), random.uniform(0, width)


def _recolour(crop: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    """Brightness, contrast, saturation and channel balance, each a little; rarely gray."""
    pixels: NDArray[np.floating] = crop.astype(np.float32)
    gray = pixels @ np.array([0.299, 0.587, 0.114], np.float32)
    saturation = 0.0 if random.random() < 0.03 else random.uniform(0.6, 1.4)
    pixels = gray[..., None] + saturation * (pixels - gray[..., None])
    gain = random.uniform(0.7, 1.35) * random.uniform(0.92, 1.08, 3)
    mean = float(gray.mean())
    contrast = random.uniform(0.75, 1.25)
    pixels = (pixels - mean) * (contrast * gain) + mean * gain
    return np.clip(pixels, 0, 255).astype(np.uint8)
