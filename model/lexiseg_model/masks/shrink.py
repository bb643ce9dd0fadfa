"""A photograph at the size of a network's input: each pixel the mean of the area that it covers, by colour."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from lexiseg_model.kernel import library
from lexiseg_model.kernel import pixels as compiled

LEAST = 1e-3  # of a pixel that counts, as of OpenCV


def shrink(rgb: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """[H, W, 3] -> planes [3, h, w], to the bit as OpenCV's INTER_AREA.

    OpenCV does it itself where a side does not shrink, and where both do by whole numbers: there it has a shorter way.
    """
    (height, width), (h, w) = rgb.shape[:2], size
    by_area = height >= h and width >= w and (height % h or width % w)
    if library.ready() and by_area:
        return compiled.shrink(rgb, _areas(height, h), _areas(width, w))
    resized = cv2.resize(rgb, (w, h), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(resized.transpose(2, 0, 1), np.uint8)


@lru_cache(8)
def _areas(n: int, m: int) -> compiled.Areas:
    """Of n pixels made m: parts of the first and of the last, whole ones between. The numbers are OpenCV's."""
    scale = 1 / (m / n)
    begin = np.arange(m) * scale
    end = begin + scale
    covered = np.minimum(scale, n - begin)
    last = np.minimum(np.floor(end).astype(np.int64), n - 1)
    first = np.minimum(np.ceil(begin).astype(np.int64), last)
    before, after = first - begin, end - last  # parts of the pixels beside the whole ones
    places = first[:, None] + np.arange(-1, int((last - first).max()) + 2)
    shares = (places < last[:, None]).astype(np.float64)
    shares[:, 0] = np.where(before > LEAST, before, 0)
    shares[places == last[:, None]] = np.where(after > LEAST, np.minimum(np.minimum(after, 1), covered), 0)
    weights = (shares / covered[:, None]).astype(np.float32)
    skipped = (weights[:, 0] == 0).astype(np.int64)  # each begins with a pixel that counts
    columns = skipped[:, None] + np.arange((weights > 0).sum(1).max())
    return compiled.Areas(places[:, 0] + skipped, np.take_along_axis(weights, columns, 1))
