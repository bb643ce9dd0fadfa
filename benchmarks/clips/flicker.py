"""Label flicker between video frames, with optical flow for moving scenes."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from lexiseg_model.errors import ShapeError
from lexiseg_model.types import LabelMap

SAME_PIXEL = 15  # gray levels
Image = NDArray[np.uint8]


def flicker(before: LabelMap, now: LabelMap, counted: NDArray[np.bool_] | None = None) -> float:
    """The share of pixels, 0 to 1, whose label changes from one frame to the next.

    Args:
        before: [H, W].
        now: [H, W].
        counted: [H, W] pixels to compare; None: all.

    Raises:
        ShapeError: the maps differ in size.
    """
    if before.shape != now.shape:
        raise ShapeError(f"label maps of {before.shape} and {now.shape} cannot be compared")
    changed = before != now
    if counted is not None:
        changed = changed[counted]
    return float(changed.mean()) if changed.size else 0.0


def warp_labels(
    before: NDArray[np.uint8], now: NDArray[np.uint8], labels: LabelMap
) -> tuple[LabelMap, NDArray[np.bool_]]:
    """Warp the labels of the previous frame to the current one by optical flow.

    Uses dense inverse search at full resolution, independent of the flow that smoothing uses.

    Args:
        before: [H, W, 3] RGB.
        now: [H, W, 3] RGB.
        labels: [H, W] of `before`.

    Returns:
        Warped labels [H, W]; reliable pixels [H, W]: inside the previous frame and within 15 gray levels of it.
    """
    gray = [np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8) for picture in (before, now)]
    estimator = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flow = np.asarray(estimator.calc(gray[1], gray[0], None), np.float32)  # type: ignore[call-overload]
    height, width = gray[0].shape
    x = flow[..., 0] + np.arange(width, dtype=np.float32)
    y = flow[..., 1] + np.arange(height, dtype=np.float32)[:, None]
    warped = cv2.remap(gray[0], x, y, cv2.INTER_LINEAR)
    inside = (x >= 0) & (y >= 0) & (x <= width - 1) & (y <= height - 1)
    reliable = inside & (cv2.absdiff(warped, gray[1]) < SAME_PIXEL)
    # Flow is unreliable next to a mismatch, too.
    reliable = cv2.erode(reliable.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    return np.asarray(cv2.remap(labels, x, y, cv2.INTER_NEAREST), labels.dtype), reliable
