"""How steady the labels of a video are."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from lexiseg_model.errors import ShapeError
from lexiseg_model.types import LabelMap

SAME_PIXEL = 15  # gray levels


def flicker(before: LabelMap, now: LabelMap, counted: NDArray[np.bool_] | None = None) -> float:
    """Share of pixels whose label changes from one frame to the next, 0..1.

    Args:
        before: [H, W].
        now: [H, W].
        counted: [H, W] pixels to look at; None: all, as for a still scene.

    Raises:
        ShapeError: the maps differ in size.
    """
    if before.shape != now.shape:
        raise ShapeError(f"label maps of {before.shape} and {now.shape} cannot be compared")
    changed = before != now
    if counted is not None:
        changed = changed[counted]
    return float(changed.mean()) if changed.size else 0.0


def carried(before: NDArray[np.uint8], now: NDArray[np.uint8], labels: LabelMap) -> tuple[LabelMap, NDArray[np.bool_]]:
    """Labels of the frame before where they are now, and the pixels for which that is certain.

    Dense inverse search at full size and its finest preset, apart from what the smoothing uses.

    Args:
        before: [H, W, 3] RGB.
        now: [H, W, 3] RGB.
        labels: [H, W] of `before`.

    Returns:
        Labels [H, W]; pixels [H, W] that were inside the frame and look the same within 15 gray levels.
    """
    gray = [np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8) for picture in (before, now)]
    estimator = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flow = np.asarray(estimator.calc(gray[1], gray[0], None), np.float32)  # type: ignore[call-overload]
    height, width = gray[0].shape
    x = flow[..., 0] + np.arange(width, dtype=np.float32)
    y = flow[..., 1] + np.arange(height, dtype=np.float32)[:, None]
    moved = cv2.remap(gray[0], x, y, cv2.INTER_LINEAR)
    inside = (x >= 0) & (y >= 0) & (x <= width - 1) & (y <= height - 1)
    certain = inside & (cv2.absdiff(moved, gray[1]) < SAME_PIXEL)
    # Away from what is not: next to a wrong place the flow is doubtful, too.
    certain = cv2.erode(certain.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    return np.asarray(cv2.remap(labels, x, y, cv2.INTER_NEAREST), labels.dtype), certain
