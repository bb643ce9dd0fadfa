"""Draw the overlay of an image: segments in colours, with contours and labels."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from lexiseg_labels.pictures import FAINT, colour, contours
from lexiseg_model.types import LabelMap, Segment

MAX_WIDTH = 1280
MAX_PIXELS = 4 * 2**20  # bounds very high images
OPACITY = 0.5
MIN_LABELLED = 0.002  # share of the image; smaller segments have no text


def fitted(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Shrink an image [H, W, 3] to the limits of overlays: [h, w, 3]."""
    height, width = rgb.shape[:2]
    factor = min(MAX_WIDTH / width, math.sqrt(MAX_PIXELS / (height * width)))
    if factor >= 1:
        return rgb
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return cv2.resize(rgb, size, interpolation=cv2.INTER_AREA).astype(np.uint8)


def paint(rgb: NDArray[np.uint8], label_map: LabelMap, segments: tuple[Segment, ...]) -> NDArray[np.uint8]:
    """Draw the overlay uint8 [h, w, 3] of an image [H, W, 3], or of the result of `fitted`, within its limits.

    `label_map` [H, W] has the segments' ids, 0 = background.
    """
    rgb = fitted(rgb)
    if rgb.shape[:2] != label_map.shape:
        size = rgb.shape[1::-1]
        label_map = cv2.resize(label_map, size, interpolation=cv2.INTER_NEAREST).astype(label_map.dtype)
    # An id may exceed the number of segments: a corrected one keeps its own.
    palette = np.zeros((max((segment.id for segment in segments), default=0) + 1, 4), np.float32)  # and opacity
    n_classes = 1 + max((segment.class_index for segment in segments if segment.class_index is not None), default=-1)
    for segment in segments:
        opacity = OPACITY * (FAINT if segment.doubtful else 1)
        # Without a class the colour of its prompt, numbered after all classes, or else of its id.
        of_prompt = segment.id if segment.prompt_index is None else n_classes + segment.prompt_index
        index = of_prompt if segment.class_index is None else segment.class_index
        palette[segment.id] = *colour(index), opacity
    colours = palette[label_map]  # [h, w, 4]
    painted = rgb + colours[..., 3:] * (colours[..., :3] - rgb)
    painted[contours(label_map)] = 255
    picture = Image.fromarray(painted.round().astype(np.uint8))
    _write_labels(picture, label_map, segments, np.bincount(label_map.reshape(-1), minlength=len(palette)))
    return np.asarray(picture)


def _write_labels(
    picture: Image.Image, label_map: LabelMap, segments: tuple[Segment, ...], areas: NDArray[np.int64]
) -> None:
    """Write each label, or the index of one of several prompts, where its segment is deepest."""
    has_prompts = len({segment.prompt_index for segment in segments}) > 1
    draw = ImageDraw.Draw(picture, "RGBA")
    font = ImageFont.load_default(size=max(11, round(min(picture.size) / 28)))
    for segment in segments:
        number = segment.prompt_index if has_prompts else None
        text = segment.label or ("" if number is None else str(number))
        if not text or areas[segment.id] < MIN_LABELLED * label_map.size:
            continue
        mask = (label_map == segment.id).astype(np.uint8)
        # Zero padding keeps the point away from the image's edge as well.
        depth = cv2.distanceTransform(np.pad(mask, 1), cv2.DIST_L2, 3)[1:-1, 1:-1]
        y, x = divmod(int(depth.argmax()), mask.shape[1])
        left, top, right, bottom = draw.textbbox((x, y), text, font=font, anchor="mm")
        shift_x = min(0, picture.width - 4 - right) + max(0, 4 - left)
        shift_y = min(0, picture.height - 3 - bottom) + max(0, 3 - top)
        box = (left + shift_x - 4, top + shift_y - 3, right + shift_x + 4, bottom + shift_y + 3)
        draw.rounded_rectangle(box, 4, fill=(0, 0, 0, 170))
        draw.text((x + shift_x, y + shift_y), text, font=font, anchor="mm", fill=(255, 255, 255, 255))
