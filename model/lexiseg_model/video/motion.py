"""A small picture of each frame; dense optical flow between two, its trust, and detection of scene cuts.

Dense inverse search (Kroeger et al., "Fast Optical Flow using Dense Inverse Search", ECCV 2016) on small gray pictures.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lexiseg_model.features import Plan

TOLERANCE = 12.0  # gray levels of error at which trust falls to 1/e
NOISE_BLUR = 1.5  # pixels, against noise of single pixels
BINS = 8  # of each colour
# Consecutive frames and frames ten apart of the same scene stay below 0.22 and mostly above 0.7; different scenes are
# above 0.39 and below 0.65 (docs/video.md). A change of light changes the colours, but keeps the correlation.
OTHER_COLOURS = 0.3
SAME_SHAPES = 0.7
MIN_SIDE = 16  # pixels, for the patches of the search
MAX_SIDE = 256  # pixels; optical flow gains nothing from more (docs/video.md)

Gray = NDArray[np.uint8]  # [h, w]
Picture = NDArray[np.uint8]  # [h, w, 3] RGB


@dataclass(frozen=True)
class Motion:
    """Motion from one picture to the next, both [h, w].

    `source` [h, w, 2] float32: (x, y) in the earlier picture of what is now at each pixel; `trust` [h, w] float32 in
    0..1: how well the two agree, 0 where it was outside; `cut`: they show different scenes.
    """

    source: NDArray[np.float32]
    trust: NDArray[np.float32]
    cut: bool


class MotionEstimator:
    """Compares pictures of one stream. Not thread-safe."""

    def __init__(self) -> None:
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)

    def compare(self, before: Picture, now: Picture) -> Motion:
        """The motion from one picture to the next, of the same size."""
        gray_before, gray_now = _gray(before), _gray(now)
        height, width = gray_now.shape
        source = self._shifts(gray_before, gray_now)
        source[..., 0] += np.arange(width, dtype=np.float32)
        source[..., 1] += np.arange(height, dtype=np.float32)[:, None]
        x, y = source[..., 0], source[..., 1]
        moved = np.asarray(cv2.remap(gray_before, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.uint8)
        error = cv2.GaussianBlur(cv2.absdiff(moved, gray_now).astype(np.float32), (0, 0), NOISE_BLUR)
        trust = np.exp(-np.square(error / TOLERANCE))
        # Pixels reach half a pixel beyond their centres.
        trust[(x < -0.5) | (y < -0.5) | (x > width - 0.5) | (y > height - 0.5)] = 0
        cut = _colour_distance(before, now) > OTHER_COLOURS and _likeness(moved, gray_now) < SAME_SHAPES
        return Motion(source, trust.astype(np.float32), cut)

    def _shifts(self, before: Gray, now: Gray) -> NDArray[np.float32]:
        """[h, w, 2] (x, y): how far away each pixel of `now` was."""
        if min(now.shape) < MIN_SIDE:
            return np.zeros((*now.shape, 2), np.float32)
        return np.asarray(self._flow.calc(now, before, None), np.float32)  # type: ignore[call-overload]


def _gray(picture: Picture) -> Gray:
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8)


def _colour_distance(one: Picture, other: Picture) -> float:
    """Half the L1 distance of the colour histograms: 0 the same colours, 1 none in common."""
    histograms = [cv2.calcHist([picture], [0, 1, 2], None, [BINS] * 3, [0, 256] * 3) for picture in (one, other)]
    return float(np.abs(histograms[0] - histograms[1]).sum() / (2 * one.shape[0] * one.shape[1]))


def _likeness(one: Gray, other: Gray) -> float:
    """Correlation of two gray pictures; two flat ones are alike."""
    a, b = (gray.astype(np.float32) - gray.mean() for gray in (one, other))
    scale = float(np.sqrt(np.square(a).sum() * np.square(b).sum()))
    return float((a * b).sum()) / scale if scale > 0 else 1.0


def small_picture(plan: Plan) -> Picture:
    """The frame that a plan's tiles show, its longer side at most 256 pixels.

    Where tiles overlap the later one is seen, which shows the same.
    """
    canvas = plan.bucket if plan.layout is None else plan.layout.canvas
    factor = min(1.0, MAX_SIDE / max(canvas))
    height, width = (max(1, round(side * factor)) for side in canvas)
    if plan.layout is None:
        return _shrunk(plan.tiles[0], (height, width))
    picture = np.zeros((height, width, 3), np.uint8)
    for tile, (top, left) in zip(plan.tiles, plan.layout.offsets, strict=True):
        rows = _span(top, tile.shape[1], factor, height)
        columns = _span(left, tile.shape[2], factor, width)
        picture[rows, columns] = _shrunk(tile, (rows.stop - rows.start, columns.stop - columns.start))
    return picture


def _span(first: int, length: int, factor: float, end: int) -> slice:
    """Rows or columns of a tile on the small picture: at least one pixel, never beyond the end."""
    start = min(round(first * factor), end - 1)
    return slice(start, min(end, max(start + 1, round((first + length) * factor))))


def _shrunk(tile: NDArray[np.uint8], size: tuple[int, int]) -> Picture:
    """Shrink a tile [3, s, t] to a picture [h, w, 3]."""
    pixels = np.ascontiguousarray(tile.transpose(1, 2, 0))
    return np.asarray(cv2.resize(pixels, (size[1], size[0]), interpolation=cv2.INTER_AREA), np.uint8)
